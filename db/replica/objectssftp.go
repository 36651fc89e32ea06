package replica

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path"
	"sync"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
	"golang.org/x/sync/errgroup"
)

// sftpObjects are the files of a directory on another host. One connection serves all requests, one after the other; a request
// that ends early closes it.
type sftpObjects struct {
	cfg Config

	mu   sync.Mutex
	conn net.Conn
	sftp *sftp.Client // nil: not connected
}

// sshHandshake bounds the time until a connection can be used.
const sshHandshake = 30 * time.Second

// connect makes a connection as Litestream's client does.
func (o *sftpObjects) connect(ctx context.Context) error {
	if o.sftp != nil {
		return nil
	}
	config := &ssh.ClientConfig{User: o.cfg.User, HostKeyCallback: ssh.InsecureIgnoreHostKey(), Timeout: sshHandshake}
	if o.cfg.HostKey != "" {
		key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(o.cfg.HostKey))
		if err != nil {
			return fmt.Errorf("sftp: read host-key: %w", err)
		}
		config.HostKeyCallback = ssh.FixedHostKey(key)
	}
	if o.cfg.Password != "" {
		config.Auth = append(config.Auth, ssh.Password(o.cfg.Password))
	}
	if o.cfg.KeyPath != "" {
		text, err := os.ReadFile(o.cfg.KeyPath)
		if err != nil {
			return fmt.Errorf("sftp: read key-path: %w", err)
		}
		signer, err := ssh.ParsePrivateKey(text)
		if err != nil {
			return fmt.Errorf("sftp: read key-path: %w", err)
		}
		config.Auth = append(config.Auth, ssh.PublicKeys(signer))
	}
	host := o.cfg.Host
	if _, _, err := net.SplitHostPort(host); err != nil {
		host = net.JoinHostPort(host, "22")
	}
	ctx, cancel := context.WithTimeout(ctx, sshHandshake)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", host)
	if err != nil {
		return fmt.Errorf("sftp: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	secure, channels, requests, err := ssh.NewClientConn(conn, host, config)
	if err != nil {
		return errors.Join(fmt.Errorf("sftp: %w", err), conn.Close())
	}
	client, err := sftp.NewClient(ssh.NewClient(secure, channels, requests))
	if err != nil {
		return errors.Join(fmt.Errorf("sftp: %w", err), conn.Close())
	}
	o.conn, o.sftp = conn, client
	return nil
}

// do runs a request. The connection is closed after any error but those that a request is about.
func (o *sftpObjects) do(ctx context.Context, request func(*sftp.Client) error) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if ctx.Err() != nil { // it was given up while it waited for the one before: the connection stays
		return context.Cause(ctx)
	}
	if err := o.connect(ctx); err != nil {
		return err
	}
	conn := o.conn
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	err := request(o.sftp)
	if stop() && (err == nil || errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrExist)) {
		return err
	}
	_ = o.conn.Close()
	o.conn, o.sftp = nil, nil
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return fmt.Errorf("sftp: %w", err)
}

func (o *sftpObjects) at(name string) string { return path.Join(o.cfg.Path, name) }

func (o *sftpObjects) list(ctx context.Context, dir string) (names []string, err error) {
	err = o.do(ctx, func(c *sftp.Client) error {
		entries, err := c.ReadDir(o.at(dir))
		for _, e := range entries {
			names = append(names, e.Name())
		}
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return names, err
}

func (o *sftpObjects) read(ctx context.Context, name string) (data []byte, err error) {
	err = o.do(ctx, func(c *sftp.Client) error {
		f, err := c.Open(o.at(name))
		if err != nil {
			return err
		}
		data, err = io.ReadAll(f)
		return errors.Join(err, f.Close())
	})
	return data, err
}

// create opens the file exclusively. Whoever reads it before it is written sees an empty one. The protocol has no code for a
// file that is there, so that the file is asked for when it can't be created.
func (o *sftpObjects) create(ctx context.Context, name string, data []byte) error {
	return o.do(ctx, func(c *sftp.Client) error {
		if err := c.MkdirAll(path.Dir(o.at(name))); err != nil {
			return err
		}
		f, err := c.OpenFile(o.at(name), os.O_WRONLY|os.O_CREATE|os.O_EXCL)
		if err != nil {
			if _, there := c.Lstat(o.at(name)); there == nil {
				return fs.ErrExist
			}
			return err
		}
		_, err = f.Write(data)
		return errors.Join(err, f.Close())
	})
}

// write writes in place: all is one packet, and as long as before.
func (o *sftpObjects) write(ctx context.Context, name string, data []byte) error {
	return o.do(ctx, func(c *sftp.Client) error {
		if err := c.MkdirAll(path.Dir(o.at(name))); err != nil {
			return err
		}
		f, err := c.OpenFile(o.at(name), os.O_WRONLY|os.O_CREATE)
		if err != nil {
			return err
		}
		_, err = f.Write(data)
		return errors.Join(err, f.Close())
	})
}

func (o *sftpObjects) missing(ctx context.Context, _ string, names []string) (gone []string, err error) {
	err = o.do(ctx, func(c *sftp.Client) error {
		var mu sync.Mutex
		var g errgroup.Group
		g.SetLimit(lookers)
		for _, name := range names {
			g.Go(func() error {
				_, err := c.Stat(o.at(name))
				if !errors.Is(err, fs.ErrNotExist) {
					return err
				}
				mu.Lock()
				defer mu.Unlock()
				gone = append(gone, name)
				return nil
			})
		}
		return g.Wait()
	})
	return gone, err
}

func (o *sftpObjects) close() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.sftp == nil {
		return nil
	}
	err := o.conn.Close()
	o.conn, o.sftp = nil, nil
	return err
}
