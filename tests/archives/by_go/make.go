// Writes an honest archive as programs in Go do, by archive/tar and compress/gzip.
//
// The tests need no Go: what this has written is kept beside it. Go 1.19.8 (golang-go of Debian 12)
// made it by
//
//	for format in default pax gnu; do go run make.go $format > $format.tar.gz; done
package main

import (
	"archive/tar"
	"compress/gzip"
	"log"
	"os"
	"strings"
	"time"
)

var (
	long     = strings.Repeat("a-folder-with-a-rather-long-name/", 4) + "and-a-file-with-one"
	veryLong = strings.Repeat(strings.Repeat("n", 90)+"/", 5) + "file"
	formats  = map[string]tar.Format{"default": tar.FormatUnknown, "pax": tar.FormatPAX, "gnu": tar.FormatGNU}
	contents = map[string]string{
		"lib/empty": "", "lib/of-one-block": strings.Repeat("x", 512), "lib/data": strings.Repeat("data\n", 20_000),
	}
)

var members = []tar.Header{
	{Name: "bin/", Typeflag: tar.TypeDir, Mode: 0o755},
	{Name: "bin/server", Mode: 0o755},
	{Name: "bin/only-the-owner", Mode: 0o700},
	{Name: "bin/second", Typeflag: tar.TypeLink, Linkname: "bin/server", Mode: 0o755},
	{Name: "run", Typeflag: tar.TypeSymlink, Linkname: "bin/server", Mode: 0o777},
	{Name: "lib/private", Mode: 0o600},
	{Name: "lib/data", Mode: 0o644},
	{Name: "lib/empty", Mode: 0o644},
	{Name: "lib/of-one-block", Mode: 0o664, Uid: 1 << 22, Gid: 1 << 22},
	{Name: "lib/up", Typeflag: tar.TypeSymlink, Linkname: "../bin", Mode: 0o777},
	{Name: "lib/through-another", Typeflag: tar.TypeSymlink, Linkname: "up/server", Mode: 0o777},
	{Name: "lib/dangling", Typeflag: tar.TypeSymlink, Linkname: "made/later", Mode: 0o777},
	{Name: "-starts with a dash", Mode: 0o644, Uname: "somebody", Gname: "some group"},
	{Name: "spare/empty/", Typeflag: tar.TypeDir, Mode: 0o755},
	{Name: long, Mode: 0o644},
	{Name: veryLong, Mode: 0o755},
	{Name: "to-a-very-long-name", Typeflag: tar.TypeSymlink, Linkname: veryLong, Mode: 0o777},
	{Name: "données/été-servicé.txt", Mode: 0o644},
	{Name: "服务/配置.json", Mode: 0o644},
	{Name: "服务/second.json", Typeflag: tar.TypeLink, Linkname: "服务/配置.json", Mode: 0o644},
	{Name: "emoji-🚢", Mode: 0o755},
	{Name: "Привет, it's me", Typeflag: tar.TypeSymlink, Linkname: "服务/配置.json", Mode: 0o777},
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func main() {
	packed := gzip.NewWriter(os.Stdout)
	archive := tar.NewWriter(packed)
	for _, member := range members {
		content := ""
		if member.Typeflag == 0 {
			var known bool
			if content, known = contents[member.Name]; !known {
				content = member.Name
			}
		}
		member.Format, member.Size = formats[os.Args[1]], int64(len(content))
		member.ModTime = time.Unix(1_700_000_000, 123_456_789)
		must(archive.WriteHeader(&member))
		_, err := archive.Write([]byte(content))
		must(err)
	}
	must(archive.Close())
	must(packed.Close())
}
