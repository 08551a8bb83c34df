package sources_test

import (
	"fmt"
	"testing"
)

const (
	gentooDir   = "gentoo/releases/amd64/autobuilds/current-stage3-amd64-openrc/"
	gentooStage = gentooDir + "stage3-amd64-openrc-20261101T170000Z.tar.xz"
	gentooTree  = "gentoo/snapshots/portage-latest.tar.xz"
)

// digests is a file of Gentoo's form: digests of two kinds that have the same length.
func digests(name string, data []byte) []byte {
	other := sha512Of(append([]byte("not BLAKE2B of "), data...))
	return fmt.Appendf(nil, "# BLAKE2B HASH\n%s  %s\n# SHA512 HASH\n%s  %s\n# SHA512 HASH\n%s  %s.CONTENTS.gz\n",
		other, name, sha512Of(data), name, other, name)
}

func TestGentoo(t *testing.T) {
	stage := archive{id: "gentoo", files: map[string]string{"var/db/repos/gentoo/old": "old"}}.packed(t, "xz")
	tree := archive{id: "tree", prefix: "portage/"}.packed(t, "xz")
	fill := func(m *mirror, by keys) {
		m.put(gentooDir+"stage3-amd64-openrc-20261025T170000Z.tar.xz", nil)
		m.put(gentooStage, stage)
		m.put(gentooStage+".CONTENTS.gz", nil)
		m.put(gentooStage+".DIGESTS", by.clear(digests("stage3-amd64-openrc-20261101T170000Z.tar.xz", stage)))
		m.put(gentooStage+".asc", by.detached(stage))
		m.put("gentoo/releases/amd64/autobuilds/current-stage3-amd64-systemd/x", nil)
		m.put(gentooTree, tree)
		m.put(gentooTree+".gpgsig", by.binary(tree))
	}
	s := scenario{
		function: "gentoo gentoo",
		image:    `"gentoo", "current"`,
		args:     `variant = "openrc"`,
		path:     "gentoo",
		fill:     fill,
		archive:  gentooStage,
		want:     archive{id: "gentoo"},
	}
	s.test(t,
		fault{"digests that are missing", func(m *mirror) { m.remove(gentooStage + ".DIGESTS") }, "", "", []string{".DIGESTS: the server says 404"}},
		fault{"digests that are not signed", func(m *mirror) {
			m.put(gentooStage+".DIGESTS", digests("stage3-amd64-openrc-20261101T170000Z.tar.xz", stage))
		},
			"", "", []string{".DIGESTS is not signed"}},
		fault{"the digest behind what is signed", func(m *mirror) {
			m.put(gentooStage+".DIGESTS", append(trusted().clear(digests("other", nil)), digests("stage3-amd64-openrc-20261101T170000Z.tar.xz", stage)...))
		}, "", "", []string{".DIGESTS", "stage3-amd64-openrc-20261101T170000Z.tar.xz"}},
		fault{"a tree whose signature is missing", func(m *mirror) { m.remove(gentooTree + ".gpgsig") }, "", "", []string{"portage-latest.tar.xz: its signature is missing"}},
		fault{"a tree with a flipped bit", func(m *mirror) { m.flip(gentooTree) }, "", "", []string{"portage-latest.tar.xz", "its content or the signature was changed"}},
		fault{"a listing without a stage", func(m *mirror) {
			m.rename(gentooStage, gentooDir+"stage4-amd64-openrc-1.tar.xz")
			m.remove(gentooDir + "stage3-amd64-openrc-20261025T170000Z.tar.xz")
		},
			"", "", []string{"current-stage3-amd64-openrc", "stage4-amd64-openrc-1.tar.xz"}},
		fault{"a variant that is not there", nil, "", `variant = "musl"`, []string{"current-stage3-amd64-openrc", "current-stage3-amd64-systemd"}},
	)
	t.Run("a tree that is signed with another key", func(t *testing.T) {
		m := s.mirror(t, ours())
		m.put(gentooTree+".gpgsig", stranger().binary(tree))
		for _, args := range []string{"", fmt.Sprintf("tree_keys = [%q]", stranger().key())} { // https does, or its key
			b, err := run(t, s.recipe(m.https+"/gentoo/", s.image, s.args, withKeys, args))
			if err != nil {
				t.Fatal(err)
			}
			s.want.check(t, b.dir)
			archive{id: "tree"}.check(t, b.dir+"/var/db/repos/gentoo")
			if _, err := run(t, s.recipe(m.http+"/gentoo/", s.image, s.args, withKeys, args)); (err == nil) != (args != "") {
				t.Errorf("over http, with %.20q: %v", args, err)
			}
		}
	})
}
