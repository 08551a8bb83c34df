package pack

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"imagebuilder/builtins/bytesize"
	"imagebuilder/builtins/digest"
	"imagebuilder/builtins/host"
	"imagebuilder/builtins/squashfs"
	"imagebuilder/builtins/xz"
)

// An archive compressed by xz, whose blocks are pieces of it, taken from archives made before
// as far as they are the same. An index beside the archive in the store says what the blocks
// hold. All blocks are checked before they are copied: an archive that was changed is of no
// use, but does no harm.

// ArchiveBlocks is the file with the index of an archive, whatever that is called.
const ArchiveBlocks = "archive.blocks"

const archiveMagic = "imagebuilder archive blocks 1"

// archiveIndex is JSON on one line; its SHA-256 is on the next.
type archiveIndex struct {
	Magic  string         `json:"magic"`
	Params string         `json:"params"` // all that the bytes of a block depend on besides its content
	File   string         `json:"file"`
	Blocks []archiveBlock `json:"blocks"`
}

// archiveBlock is a block of an archive.
type archiveBlock struct {
	Content string    `json:"content"` // the SHA-256 of what is compressed
	At      int64     `json:"at"`
	Length  int64     `json:"length"` // of what is stored
	Stored  string    `json:"stored"` // its SHA-256
	Record  xz.Record `json:"record"`
}

func (x archiveIndex) write(name string) error {
	text, err := json.Marshal(x)
	if err != nil {
		return err
	}
	return os.WriteFile(name, fmt.Appendf(nil, "%s\n%s\n", text, digest.Sum(text)), 0o644)
}

// maxArchiveIndex bounds an index that is read, in bytes: 100,000 blocks and more.
const maxArchiveIndex = 32 << 20

var errArchiveIndex = errors.New("its index is damaged")

// parseArchiveIndex returns an index; one of another kind has no blocks.
func parseArchiveIndex(data []byte) (x archiveIndex, err error) {
	text, rest, _ := bytes.Cut(data, []byte("\n"))
	if string(rest) != fmt.Sprintf("%s\n", digest.Sum(text)) {
		return x, errArchiveIndex
	}
	err = json.Unmarshal(text, &x)
	if err != nil || x.File != filepath.Base(x.File) || x.File == "/" {
		return archiveIndex{}, errArchiveIndex
	}
	for _, b := range x.Blocks {
		if b.At < 0 || b.Length < 0 || b.Record.Unpadded > b.Length {
			return archiveIndex{}, errArchiveIndex
		}
	}
	if x.Magic != archiveMagic {
		x.Blocks = nil
	}
	return x, nil
}

// CountArchive counts the blocks of an archive by its index. One that is damaged is an error.
func CountArchive(s *squashfs.Shared, index io.Reader) error {
	data, err := io.ReadAll(io.LimitReader(index, maxArchiveIndex))
	if err != nil {
		return err
	}
	x, err := parseArchiveIndex(data)
	if err != nil {
		return err
	}
	s.Images++
	for _, b := range x.Blocks {
		s.Count(sha256.Sum256([]byte(x.Params+"\n"+b.Content)), b.Length)
	}
	return nil
}

// A source is an archive made before that has a block.
type source struct {
	archiveBlock
	file *os.File
	made int // in the list of the job
}

// xzArchive is an archive in the making.
type xzArchive struct {
	Job
	program host.Program
	options xz.Options
	params  string

	cuts    cuts
	in, out *os.File
	at      int64 // where the next block goes
	pieces  []piece
	known   map[string]source // blocks by their content
	index   archiveIndex

	made []Made
	used map[int]bool
	new  []piece
}

// compressArchive compresses an archive, a file in the directory of the job.
func (j Job) compressArchive(ctx context.Context, c Compression, from string, where cuts) error {
	a := &xzArchive{Job: j, known: make(map[string]source), used: make(map[int]bool),
		options: xz.Options{Check: xz.CRC64, Level: c.Level, Max: where.max}, cuts: where}
	switch c.Level {
	case -1:
		a.options.Level = 6
	case 9: // whose dictionary would be of 64 MiB, more than a piece
		a.options.Dictionary = where.max
	}
	err := a.open(ctx, from)
	if err == nil {
		err = a.write(ctx)
	}
	var names []string
	if err == nil && j.Explain && len(a.new) > 0 {
		names = latestMembers(a.in, a.new)
	}
	if err = errors.Join(err, a.close()); err != nil {
		return fmt.Errorf("cannot make %s: %w", j.Name, err)
	}
	a.tell(names)
	return nil
}

// open opens all that is needed, and finds out what is known of the archive.
func (a *xzArchive) open(ctx context.Context, from string) (err error) {
	if a.program.Path, err = host.Find("xz"); err != nil {
		return err
	}
	a.program.Env = host.Environ(nil)
	version, err := a.program.Version(ctx, "xz")
	if err != nil {
		return fmt.Errorf("cannot ask xz for its version: %w", err)
	}
	a.params = fmt.Sprintf("xz %d, %s", a.options.Level, version)
	if a.in, err = os.Open(filepath.Join(a.Dir, from)); err != nil {
		return err
	}
	if a.out, err = os.Create(filepath.Join(a.Dir, a.Name)); err != nil {
		return err
	}
	if a.pieces, err = cutPieces(ctx, a.in, a.cuts); err != nil {
		return err
	}
	if a.Made != nil {
		a.made = a.Made(ArchiveBlocks)
	}
	wanted := make(map[string]bool)
	for _, p := range a.pieces {
		wanted[p.sum] = true
	}
	for i, m := range a.made {
		if err := a.learn(i, m.Dir, wanted); err != nil {
			a.Log.Warn("a damaged archive of the cache: its blocks are compressed again", "archive", m.Dir, "cause", err)
		}
	}
	return nil
}

// learn finds the blocks of an archive that are wanted.
func (a *xzArchive) learn(made int, dir string, wanted map[string]bool) error {
	f, err := os.Open(filepath.Join(dir, ArchiveBlocks))
	if err != nil {
		return nil // there is none to be had
	}
	data, err := io.ReadAll(io.LimitReader(f, maxArchiveIndex))
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	index, err := parseArchiveIndex(data)
	if err != nil || index.Params != a.params {
		return err
	}
	archive, err := os.Open(filepath.Join(dir, index.File))
	if err != nil {
		return err
	}
	found := false
	for _, b := range index.Blocks {
		if _, ok := a.known[b.Content]; ok || !wanted[b.Content] {
			continue
		}
		var sum digest.Digest
		sum, _, err = digest.Reader(io.NewSectionReader(archive, b.At, b.Length))
		if err == nil && sum.String() != b.Stored {
			err = errors.New("a block is not what was written")
		}
		if err != nil {
			break
		}
		a.known[b.Content], found = source{b, archive, made}, true
	}
	if !found {
		err = errors.Join(err, archive.Close())
	}
	return err
}

// close closes all files, each once.
func (a *xzArchive) close() error {
	open := map[*os.File]bool{a.in: true, a.out: true}
	for _, s := range a.known {
		open[s.file] = true
	}
	var errs []error
	for f := range open {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	return errors.Join(errs...)
}

// write writes the blocks in their order: those that are new as they are compressed, and
// before each of them the known ones.
func (a *xzArchive) write(ctx context.Context) error {
	var toCompress int64
	var todo xz.Blocks
	var place []int // of the new pieces among all
	again := make(map[string]bool)
	for i, p := range a.pieces {
		if _, ok := a.known[p.sum]; ok || again[p.sum] {
			continue
		}
		again[p.sum] = true
		place, a.new = append(place, i), append(a.new, p)
		todo.Lengths = append(todo.Lengths, int(p.size))
		toCompress += p.size
	}
	done := func(int64) {}
	if a.Progress != nil && toCompress > 0 {
		bar := a.Progress(a.Name, toCompress)
		defer bar.Close()
		blank := make([]byte, a.cuts.max)
		done = func(n int64) { bar.Write(blank[:n]) }
	}
	todo.Raw = func(i int, buf []byte) error {
		_, err := a.in.ReadAt(buf, a.new[i].at)
		return err
	}
	next := 0
	todo.Take = func(i int, b xz.Block) error {
		if err := a.copy(a.pieces[next:place[i]]); err != nil {
			return err
		}
		next = place[i] + 1
		if err := a.add(a.new[i], b); err != nil {
			return err
		}
		done(b.Size)
		return nil
	}
	header := a.options.Check.Header()
	if _, err := a.out.Write(header); err != nil {
		return err
	}
	a.at = int64(len(header))
	a.index = archiveIndex{Magic: archiveMagic, Params: a.params, File: a.Name}
	if err := xz.Compress(ctx, a.program, a.options, todo); err != nil {
		return err
	}
	if err := a.copy(a.pieces[next:]); err != nil {
		return err
	}
	var records []xz.Record
	for _, b := range a.index.Blocks {
		records = append(records, b.Record)
	}
	_, err := a.out.Write(a.options.Check.AppendEnd(nil, records...))
	return err
}

// add adds a block that was made.
func (a *xzArchive) add(p piece, b xz.Block) error {
	block := archiveBlock{Content: p.sum, At: a.at, Length: int64(len(b.Data)), Stored: digest.Sum(b.Data).String(), Record: b.Record}
	if _, err := a.out.Write(b.Data); err != nil {
		return err
	}
	a.at += block.Length
	a.index.Blocks = append(a.index.Blocks, block)
	if _, ok := a.known[block.Content]; !ok { // it may come again
		a.known[block.Content] = source{block, a.out, -1}
	}
	return nil
}

// copy adds blocks that were made before.
func (a *xzArchive) copy(pieces []piece) error {
	for _, p := range pieces {
		s := a.known[p.sum]
		if _, err := io.Copy(a.out, io.NewSectionReader(s.file, s.At, s.Length)); err != nil {
			return err
		}
		if s.made >= 0 {
			a.used[s.made] = true
		}
		s.archiveBlock.At = a.at
		a.at += s.Length
		a.index.Blocks = append(a.index.Blocks, s.archiveBlock)
	}
	return nil
}

// tell writes the index, and says what the archive was made of, with the files of what was new.
func (a *xzArchive) tell(files []string) {
	for i := range a.used {
		a.made[i].Use()
	}
	name := filepath.Join(a.Dir, ArchiveBlocks)
	if err := a.index.write(name); err != nil { // the archive is worth having without
		a.Log.Warn("the blocks of the archive cannot be used for later ones", "file", a.Name, "cause", errors.Join(err, os.RemoveAll(name)))
	}
	var size, added int64
	for _, p := range a.pieces {
		size += p.size
	}
	for _, p := range a.new {
		added += p.size
	}
	text := fmt.Sprintf("%s: %d of %d blocks were new, %s of %s", a.Name, len(a.new), len(a.pieces), bytesize.Size(added), bytesize.Size(size))
	a.Job.explain(text + withFiles(files))
}
