package layer

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sys/unix"

	"imagebuilder/builtins/dirfd"
	"imagebuilder/builtins/host"
	"imagebuilder/builtins/sandbox"
	"imagebuilder/builtins/treetask"
)

// Whatever needs privilege over what is in a layer is a task of the sandbox, since the
// store may belong to a user whom its files do not: removing, measuring and reading them.

// Tasks are those that main functions have to give to the sandbox for this package.
var Tasks = []sandbox.Registered{erasing, sealing, nothing, treetask.Copying}

// erasing removes names below a directory.
var erasing = sandbox.NewTask("erase", func(_ context.Context, in *sandbox.Inside, names []string) (sandbox.None, error) {
	dir := dirfd.New(in.Files[0], dirfd.Refuse)
	for _, name := range names {
		err := dir.RemoveAll(name)
		if errors.Is(err, unix.EPERM) && thaw(dir, name) == nil {
			err = dir.RemoveAll(name)
		}
		if err != nil {
			return false, err
		}
	}
	return false, nil
})

// thaw takes from all below a directory what chattr may have given it, in a step on a plain
// copy: that it must not be changed. Else it would stay, and be in the way of each later run.
func thaw(dir *dirfd.Dir, name string) error {
	if mounted, err := dir.Mounted(name); mounted != "" || err != nil {
		return errors.Join(dirfd.ErrMounted, err)
	}
	return dir.Scan(name, func(at dirfd.At, st *unix.Stat_t) error {
		if kind := st.Mode & unix.S_IFMT; kind != unix.S_IFREG && kind != unix.S_IFDIR {
			return nil
		}
		fd, err := unix.Openat(at.Dir, at.Base, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		const frozen = unix.STATX_ATTR_IMMUTABLE | unix.STATX_ATTR_APPEND // FS_IMMUTABLE_FL, FS_APPEND_FL
		flags, err := unix.IoctlGetUint32(fd, unix.FS_IOC_GETFLAGS)
		if err != nil || flags&frozen == 0 {
			return nil // not every file system has such
		}
		return unix.IoctlSetPointerInt(fd, unix.FS_IOC_SETFLAGS, int(flags&^frozen))
	})
}

// nothing mounts a root file system, to see whether that can be done.
var nothing = sandbox.NewTask("nothing", func(context.Context, *sandbox.Inside, sandbox.None) (sandbox.None, error) {
	return false, nil
})

// sealing takes from a finished entry what only its making needed, and looks at the rest:
// what that takes on the disk and, of a layer, how it looks and the digest of its content. No time
// of a layer is later than that of the epoch, if there is one.
var sealing = sandbox.NewTask("seal", func(_ context.Context, in *sandbox.Inside, how sealed) (s seal, err error) {
	entry := dirfd.New(in.Files[0], dirfd.Refuse)
	if err := entry.RemoveAll("work"); err != nil {
		return s, err
	}
	f, err := entry.OpenFile("data", unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return s, err
	}
	data := dirfd.New(f, dirfd.InRoot)
	defer data.Close()
	if how.Layer && how.Epoch != "" {
		if err := clamp(data, how.Epoch.Clock()()); err != nil {
			return s, err
		}
	}
	m, err := measure(data)
	s.Size = m.disk
	if err != nil || !how.Layer {
		return s, err
	}
	s.Shape = m.Shape
	synced := make(chan error, 1)
	if m.disk >= large {
		go func() { synced <- unix.Syncfs(int(in.Files[0].Fd())) }()
	} else {
		synced <- nil
	}
	s.ID, err = identify(data)
	return s, errors.Join(err, <-synced)
})

// sealed is how an entry is sealed.
type sealed struct {
	Layer bool
	Epoch host.Epoch
}

// clamp gives what is later than a time that time: else a layer that is made again, on another
// machine or another day, would be another one.
func clamp(data *dirfd.Dir, latest time.Time) error {
	limit, err := unix.TimeToTimespec(latest)
	if err != nil {
		return err
	}
	times := []unix.Timespec{{Nsec: unix.UTIME_OMIT}, limit}
	return data.Scan(".", func(at dirfd.At, st *unix.Stat_t) error {
		if st.Mtim.Nano() <= limit.Nano() {
			return nil
		}
		err := unix.UtimesNanoAt(at.Dir, at.Base, times, unix.AT_SYMLINK_NOFOLLOW)
		if errors.Is(err, unix.EPERM) { // a file that must not be changed: images have its time clamped
			err = nil
		}
		return err
	})
}

// large is what is on its way to the disk while it is read, in bytes. A sync more costs
// small steps more than it is worth.
const large = 16 << 20

type seal struct {
	Size  int64
	ID    string
	Shape Shape // of a layer
}

// erase removes names below the store, which nobody may be using.
func (s *Store) erase(names ...string) error {
	if len(names) == 0 {
		return nil
	}
	_, err := erasing.Run(context.Background(), nil, names, s.root.File())
	return err
}
