package host

import "os"

// The umask is the caller's and stays so; this is the one place that makes a directory
// despite it by path.

// Mkdir makes a directory as the root of an image is: 0755 and root's, whatever the umask
// is and whose group the directory above gives to what is in it.
func Mkdir(name string) error {
	if err := os.Mkdir(name, 0o755); err != nil {
		return err
	}
	if os.Geteuid() == 0 {
		if err := os.Chown(name, 0, 0); err != nil {
			return err
		}
	}
	return os.Chmod(name, 0o755)
}
