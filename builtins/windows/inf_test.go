package windows

import (
	"encoding/hex"
	"reflect"
	"strings"
	"testing"
	"unicode/utf16"
)

const infHead = "; a driver\r\n[Version]\r\nSignature=\"$Windows NT$\"\r\nClass = SCSIAdapter\r\n" +
	";ClassGuid={00000000-0000-0000-0000-000000000000}\r\n"

const storageGUID = "{4D36E97B-E325-11CE-BFC1-08002BE10318}"

// wantINF is what the files of the table tell.
var wantINF = INF{
	Class: "SCSIAdapter", ClassGUID: storageGUID, Provider: "Red Hat, Inc.", Catalog: "viostor.cat", Date: "11/12/2020", Version: "100.83.104.19000",
	FileTime: "00008ec386b8d601",
	Rank:     "00ff0900000000007be9364d25e3ce11bfc108002be1031800008ec386b8d601384a6800530064000000000000000000",
}

func utf16INF(text string, big bool) string {
	var b strings.Builder
	for _, u := range utf16.Encode([]rune("\ufeff" + text)) {
		if big {
			b.Write([]byte{byte(u >> 8), byte(u)})
		} else {
			b.Write([]byte{byte(u), byte(u >> 8)})
		}
	}
	return b.String()
}

const wholeINF = infHead + "ClassGUID = " + storageGUID + " ; storage\r\nProvider=%VENDOR%\r\nDriverVer=11/12/2020,100.83.104.19000\r\n" +
	"CatalogFile=viostor.cat\r\n[Strings]\r\nVendor = \"Red Hat, Inc.\" ; who\r\n"

var infs = []struct{ summary, data, err string }{
	{summary: "lines of Windows", data: wholeINF},
	{summary: "lines of Unix", data: strings.ReplaceAll(wholeINF, "\r", "")},
	{summary: "UTF-8 with a mark", data: "\xef\xbb\xbf" + wholeINF},
	{summary: "UTF-16", data: utf16INF(wholeINF, false)},
	{summary: "UTF-16, big-endian", data: utf16INF(wholeINF, true)},
	{summary: "UTF-16 without a mark", data: utf16INF(wholeINF, false)[2:]},
	{summary: "a line goes on", data: strings.Replace(wholeINF, "11/12/2020,", "11/12/2020, \\\r\n  ", 1)},
	{summary: "a catalog for a platform", data: strings.Replace(wholeINF, "CatalogFile=", "CatalogFile.NTamd64=", 1)},
	{summary: "the section comes again", data: strings.Replace(wholeINF, "Provider", "[Other]\r\nClassGuid=x\r\n[VERSION]\r\nProvider", 1)},
	{summary: "spaces", data: strings.Replace(wholeINF, "DriverVer=11/12/2020,", "DriverVer = 11/12/2020 , ", 1)},
	{summary: "nothing", err: "no section [Version]"},
	{summary: "no class", data: "[Version]\nDriverVer=1/1/2020,1.2.3.4\n", err: `its ClassGuid is "", which is no GUID`},
	{summary: "no version", data: infHead + "ClassGuid=" + storageGUID, err: `its DriverVer is ""`},
	{summary: "a short version", data: infHead + "ClassGuid=" + storageGUID + "\nDriverVer=1/1/2020,1.2.3", err: "not MM/DD/YYYY,a.b.c.d"},
	{summary: "a large version", data: infHead + "ClassGuid=" + storageGUID + "\nDriverVer=1/1/2020,1.2.3.65536", err: "not MM/DD/YYYY,a.b.c.d"},
	{summary: "another calendar", data: infHead + "ClassGuid=" + storageGUID + "\nDriverVer=14/11/2020,1.2.3.4", err: "not MM/DD/YYYY,a.b.c.d"},
	{summary: "in another section", data: "[Version]\n[Other]\nClassGuid=" + storageGUID, err: "ClassGuid"},
}

func TestParseINF(t *testing.T) {
	for _, test := range infs {
		got, err := ParseINF([]byte(test.data))
		want := wantINF
		switch {
		case test.err == "" && (err != nil || !reflect.DeepEqual(*got, want)):
			t.Errorf("%s: %+v, %v", test.summary, got, err)
		case test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err)):
			t.Errorf("%s: %v", test.summary, err)
		}
	}
}

func FuzzINF(f *testing.F) {
	for _, test := range infs {
		f.Add([]byte(test.data))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		inf, err := ParseINF(data)
		if err != nil {
			return
		}
		if rank, err := hex.DecodeString(inf.Rank); err != nil || len(rank) != 48 {
			t.Errorf("the rank is %s", inf.Rank)
		}
		if !guidText.MatchString(inf.ClassGUID) {
			t.Errorf("the class is %s", inf.ClassGUID)
		}
	})
}
