package sandbox

import (
	"errors"
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// A network of one address: a network namespace that nothing leads out of, in which this process
// listens. The child makes the socket, since a socket belongs to the namespace it was made in, and
// hands it to the parent, which alone has a network.

// ProxyAddress is where programs find what Spec.Proxy serves. It is always the same, so that
// nothing that they write down of it differs.
const ProxyAddress = "127.0.0.1:3129"

// A proxied is the parent's side.
type proxied struct {
	ours, theirs *os.File
	done         chan error
}

// serveProxy begins to wait for the child's socket, and then serves on it.
func serveProxy(serve func(net.Listener)) (*proxied, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("cannot make a socket: %w", err)
	}
	p := &proxied{os.NewFile(uintptr(pair[0]), "socket"), os.NewFile(uintptr(pair[1]), "socket"), make(chan error, 1)}
	go func() {
		listener, err := receiveListener(int(p.ours.Fd()))
		if listener == nil {
			p.done <- err
			return
		}
		stop := make(chan struct{})
		go func() {
			waitForEnd(int(p.ours.Fd()))
			listener.Close()
			close(stop)
		}()
		serve(listener)
		<-stop
		p.done <- nil
	}()
	return p, nil
}

// end ends the serving after the child has ended.
func (p *proxied) end() error {
	if p == nil {
		return nil
	}
	p.theirs.Close()
	err := <-p.done
	return errors.Join(err, p.ours.Close())
}

// receiveListener returns the socket that the child sends; nil: it has ended before that.
func receiveListener(fd int) (net.Listener, error) {
	room := make([]byte, unix.CmsgSpace(4))
	for {
		n, used, _, _, err := unix.Recvmsg(fd, make([]byte, 1), room, unix.MSG_CMSG_CLOEXEC)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("cannot receive a socket: %w", err)
		}
		if n == 0 {
			return nil, nil
		}
		messages, err := unix.ParseSocketControlMessage(room[:used])
		if err != nil || len(messages) != 1 {
			return nil, fmt.Errorf("cannot receive a socket: %w", errors.Join(err, errors.New("it has sent something else")))
		}
		fds, err := unix.ParseUnixRights(&messages[0])
		if err != nil || len(fds) != 1 {
			return nil, fmt.Errorf("cannot receive a socket: %w", errors.Join(err, errors.New("it has sent something else")))
		}
		file := os.NewFile(uintptr(fds[0]), "listener")
		defer file.Close()
		return net.FileListener(file)
	}
}

// waitForEnd waits until all have closed the other end.
func waitForEnd(fd int) {
	for {
		n, _, err := unix.Recvfrom(fd, make([]byte, 1), 0)
		if err != unix.EINTR && (n <= 0 || err != nil) {
			return
		}
	}
}

// listenForParent is the child's side: it makes the one address, and hands over a socket that
// listens there.
func listenForParent(to *os.File) error {
	control, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("cannot make a socket: %w", err)
	}
	defer unix.Close(control)
	loopback, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	loopback.SetUint16(unix.IFF_UP)
	if err := unix.IoctlIfreq(control, unix.SIOCSIFFLAGS, loopback); err != nil {
		return fmt.Errorf("cannot start the loopback interface: %w", err)
	}
	address, err := net.ResolveTCPAddr("tcp4", ProxyAddress)
	if err != nil {
		return err
	}
	if err := unix.Bind(control, &unix.SockaddrInet4{Port: address.Port, Addr: [4]byte(address.IP.To4())}); err != nil {
		return fmt.Errorf("cannot listen on %s: %w", ProxyAddress, err)
	}
	if err := unix.Listen(control, 128); err != nil {
		return fmt.Errorf("cannot listen on %s: %w", ProxyAddress, err)
	}
	if err := unix.Sendmsg(int(to.Fd()), []byte{0}, unix.UnixRights(control), nil, 0); err != nil {
		return fmt.Errorf("cannot hand over a socket: %w", err)
	}
	return nil
}
