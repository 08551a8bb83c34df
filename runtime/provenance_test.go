package runtime

import "testing"

func TestWithoutPassword(t *testing.T) {
	tests := []struct{ text, want string }{
		{"", ""},
		{"bookworm", "bookworm"},
		{"http://deb.example/debian", "http://deb.example/debian"},
		{"https://me@deb.example/", "https://me@deb.example/"},
		{"https://me:pass%2Fword@deb.example/debian?a=b", "https://me:xxxxx@deb.example/debian?a=b"},
		{"%zz:a@b", "%zz:a@b"},
	}
	for _, tt := range tests {
		if got := withoutPassword(tt.text); got != tt.want {
			t.Errorf("withoutPassword(%q) = %q, want %q", tt.text, got, tt.want)
		}
	}
}
