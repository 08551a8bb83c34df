package sources_test

import (
	"fmt"
	"strings"
	"testing"
)

// An installation is a build by the system of a medium, and what it is to be.
type installation struct {
	summary string
	source  string // function and file of it
	image   string // arguments of image
	args    string // further arguments of the source
	https   bool   // how the mirror is asked
	path    string // of the mirror that is the URL for the source
	medium  string // what it tells of itself: which one was chosen
	calls   string // of dnf, yum and rpm
	repos   string // the repositories it has seen; URL stands for that of the mirror
	said    string // a part of the log
}

// A refusal is what goes wrong with an installation, and what is said of it.
type refusal struct {
	summary string
	trouble func(m *mirror) // nil: it is not the mirror's
	change  func(i *installation)
	want    []string // parts of the error
}

// refuse builds it from mirrors with which something is wrong.
func (i installation) refuse(t *testing.T, fresh func(t *testing.T) *mirror, refusals ...refusal) {
	for _, r := range refusals {
		t.Run(r.summary, func(t *testing.T) {
			m, changed := fresh(t), i
			if r.trouble != nil {
				r.trouble(m)
			}
			if r.change != nil {
				r.change(&changed)
			}
			b, err := run(t, changed.recipe(m))
			if err == nil {
				t.Fatalf("it was built:\n%s", b.log)
			}
			for _, want := range r.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%v\ndoes not say %q", err, want)
				}
			}
		})
	}
}

func image(args string) func(*installation)    { return func(i *installation) { i.image = args } }
func settings(args string) func(*installation) { return func(i *installation) { i.args = args } }

func (i installation) recipe(m *mirror) string {
	url, args := m.http, ""
	if i.https {
		url = m.https
	}
	if i.args != "" {
		args = ", " + strings.ReplaceAll(i.args, "VAULT", m.https+"/vault")
	}
	return fmt.Sprintf("load(\"@stdlib//sources/%s.star\", %q)\nOURS = [%q]\ndef made():\n    return %s(image(\"any\", %s), %q%s)\n",
		i.source, i.source, trusted().key(), i.source, i.image, url+i.path, args)
}

// check builds it from the mirror.
func (i installation) check(t *testing.T, m *mirror) {
	t.Helper()
	m.requests()
	steps, err := plan(t, i.recipe(m))
	if requests := m.requests(); err != nil || !strings.Contains(steps, `"builtin":"copy_from"`) || len(requests) > 0 {
		t.Errorf("the plan has asked %s, and is\n%s%v", requests, steps, err)
	}
	b, err := run(t, i.recipe(m))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"etc/medium": i.medium, "calls": i.calls, "repositories": i.repos} {
		got := strings.NewReplacer(m.https+"/vault", "VAULT", m.http, "URL", m.https, "URL").Replace(read(t, b.dir, name))
		if strings.TrimSpace(got) != strings.TrimSpace(want) {
			t.Errorf("%s is\n%s, want\n%s", name, got, want)
		}
	}
	if !strings.Contains(b.log, i.said) {
		t.Errorf("not said: %s\n%s", i.said, b.log)
	}
	if st := stat(t, b.dir, "."); st.Mode&0o7777 != 0o755 {
		t.Errorf("the root directory is %#o", st.Mode&0o7777)
	}
}

func dnfCall(tool, releasever, packages string) string {
	if releasever != "" {
		releasever = " --releasever=" + releasever
	}
	return tool + " -y --setopt=reposdir=/mnt/repositories --installroot=/rootfs" + releasever + " --skip-broken install " + packages
}

func aRepo(name, url, key string) string {
	text := fmt.Sprintf("[%s]\nname=%s\nbaseurl=%s\nenabled=1\n", name, name, url)
	if key == "" {
		return text + "gpgcheck=0\n"
	}
	return text + "gpgcheck=1\ngpgkey=file://" + key + "\n"
}
