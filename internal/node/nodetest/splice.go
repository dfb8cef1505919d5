package nodetest

import (
	"io"
	"net"

	gossh "golang.org/x/crypto/ssh"
	"golang.org/x/sync/errgroup"
)

// splice copies both ways until one side ends, then closes both.
func splice(channel gossh.Channel, conn net.Conn) {
	var group errgroup.Group
	closeBoth := func() { _, _ = channel.Close(), conn.Close() }
	group.Go(func() error {
		defer closeBoth()
		_, err := io.Copy(channel, conn)
		return err
	})
	group.Go(func() error {
		defer closeBoth()
		_, err := io.Copy(conn, channel)
		return err
	})
	_ = group.Wait() // an end of the connection is no error here
}
