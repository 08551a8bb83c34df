package boot

import "testing"

func TestVirtualizes(t *testing.T) {
	tests := []struct {
		summary, architecture, cpuinfo string
		want                           bool
	}{
		{"Intel", "x86_64", "processor\t: 0\nflags\t\t: fpu vmx sse\nvmx flags\t: vnmi\n", true},
		{"AMD", "x86_64", "flags\t\t: fpu svm\n\nprocessor\t: 1\nflags\t\t: fpu svm\n", true},
		{"a guest", "x86_64", "model name\t: svm: vmx\nflags\t\t: fpu hypervisor svm_lock\nbugs\t\t: vmx\n", false},
		{"nothing", "x86_64", "", false},
		{"another that has no such flags", "aarch64", "Features\t: fp asimd\n", true},
	}
	for _, test := range tests {
		t.Run(test.summary, func(t *testing.T) {
			m, err := machineOf(test.architecture)
			if err != nil {
				t.Fatal(err)
			}
			if got := m.virtualizes(test.cpuinfo); got != test.want {
				t.Errorf("got %v", got)
			}
		})
	}
}
