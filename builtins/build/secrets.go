package build

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"imagebuilder/builtins/sandbox"
)

// Secrets are files of this machine whose content a step may read and nothing may keep, by
// their names: no layer, log, plan, history or key of a step.
type Secrets map[string]string

// maxSecret bounds the size of one.
const maxSecret = 1 << 20

// SecretVariable is the variable of the environment that has a secret which no file is given for.
func SecretVariable(name string) string {
	return "IMAGEBUILDER_SECRET_" + strings.ToUpper(strings.Map(func(c rune) rune {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' {
			return c
		}
		return '_'
	}, name))
}

// read returns a secret.
func (s Secrets) read(name string) ([]byte, error) {
	file, ok := s[name]
	if !ok {
		if text := os.Getenv(SecretVariable(name)); text != "" {
			return []byte(text), nil
		}
		return nil, fmt.Errorf("the secret %s is not given: say --secret %s=FILE, or set %s", name, name, SecretVariable(name))
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("cannot read the secret %s: %w", name, err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	if err == nil && len(data) > maxSecret {
		err = fmt.Errorf("%s is larger than %d bytes", file, maxSecret)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read the secret %s: %w", name, err)
	}
	return data, nil
}

// all returns several of them, for programs.
func (s Secrets) all(names []string) ([]sandbox.Secret, error) {
	var list []sandbox.Secret
	for _, name := range names {
		data, err := s.read(name)
		if err != nil {
			return nil, err
		}
		list = append(list, sandbox.Secret{Name: name, Content: data})
	}
	return list, nil
}

// CheckSecretName finds what is wrong with the name of a secret, which is that of a file.
func CheckSecretName(name string) error {
	if name == "" || strings.Trim(name, ".") == "" || strings.ContainsFunc(name, func(c rune) bool {
		return !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("._-", c))
	}) {
		return fmt.Errorf("%q is no name of a secret: letters, digits, dots, dashes and underscores make one", name)
	}
	return nil
}

// withSecrets makes secrets an argument of a step: their names alone.
func (s *Step) withSecrets(names []string) {
	if len(names) > 0 {
		s.Args = append(s.Args, Arg{"secrets", slices.Clone(names)})
	}
}
