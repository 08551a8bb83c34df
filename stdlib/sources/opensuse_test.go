package sources_test

import "testing"

const (
	leapDir   = "download/distribution/leap/16.0/appliances/"
	leapImage = "opensuse-leap-image.x86_64-lxc-16.0-Build1.10.tar.xz"
)

func TestOpenSUSE(t *testing.T) {
	a := archive{id: "opensuse"}
	data := a.packed(t, "xz")
	fill := func(m *mirror, by keys) {
		m.put(leapDir+"opensuse-leap-image.x86_64-lxc-16.0-Build1.2.tar.xz", nil)
		m.put(leapDir+"opensuse-leap-image.x86_64-lxc.tar.xz", data) // which a server lists and does not have
		m.hinder(leapDir+"opensuse-leap-image.x86_64-lxc.tar.xz", notFound)
		m.put(leapDir+leapImage, nil)
		m.put(leapDir+leapImage+".sha256", by.clear([]byte(sha256Of(data)+"  "+leapImage+"\n")))
		m.put("mirror/"+leapImage, data)
		m.redirect(leapDir+leapImage, "mirror/"+leapImage)
		m.put("mirror/"+leapImage+".sha256", nil) // nobody asks a mirror
		m.put("download/distribution/leap/15.6/appliances/x", nil)
		for _, dir := range []string{"container", "container_ARM"} {
			m.put("download/repositories/Virtualization:/containers:/images:/openSUSE-Tumbleweed/"+dir+"/opensuse-tumbleweed-image.aarch64-lxc.tar.xz", data)
			m.put("download/repositories/Virtualization:/containers:/images:/openSUSE-Tumbleweed/"+dir+"/opensuse-tumbleweed-image.aarch64-lxc.tar.xz.sha256", by.clear([]byte(sha256Of(data)+"\n")))
		}
	}
	s := scenario{
		function: "opensuse opensuse",
		image:    `"opensuse", "16.0"`,
		path:     "download",
		fill:     fill,
		archive:  "mirror/" + leapImage,
		want:     a,
		gone:     "opensuse-leap-image.x86_64-lxc-16.0-Build1.2.tar.xz.sha256", // the next one
	}
	s.test(t,
		fault{"a digest that is missing", func(m *mirror) { m.remove(leapDir + leapImage + ".sha256") }, "", "", []string{leapImage + ".sha256: the server says 404"}},
		fault{"a digest that is not signed", func(m *mirror) { m.put(leapDir+leapImage+".sha256", []byte(sha256Of(data)+"  "+leapImage+"\n")) },
			"", "", []string{leapImage + ".sha256"}},
		fault{"a listing of another release", func(m *mirror) {
			m.remove(leapDir)
			m.put(leapDir+"opensuse-leap-image.x86_64-lxc.tar.gz", nil)
		}, "", "", []string{"16.0/appliances", "opensuse-leap-image.x86_64-lxc.tar.gz"}},
		fault{"a release that is not there", nil, `"opensuse", "42.3"`, "", []string{"15.6", "16.0"}},
		fault{"images that are listed and cannot be had", func(m *mirror) {
			m.hinder("mirror/"+leapImage, notFound)
			m.hinder(leapDir+"opensuse-leap-image.x86_64-lxc-16.0-Build1.2.tar.xz", notFound)
		}, "", "", []string{"none of the archives that", "16.0/appliances lists can be had", leapImage}},
	)
	t.Run("tumbleweed", func(t *testing.T) {
		b, err := run(t, s.recipe(s.mirror(t, ours()).http+"/download/", `"opensuse", "Tumbleweed", architecture = "arm64"`, withKeys))
		if err != nil {
			t.Fatal(err)
		}
		a.check(t, b.dir)
	})
	t.Run("a digest that is not signed, over https", func(t *testing.T) {
		m := s.mirror(t, ours())
		m.put(leapDir+leapImage+".sha256", []byte(sha256Of(data)+"  "+leapImage+"\n"))
		if _, err := run(t, s.recipe(m.https+"/download", s.image, withKeys)); err != nil {
			t.Error(err)
		}
	})
}
