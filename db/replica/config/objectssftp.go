package config

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

// sftpObjects are the files of a directory on another host. One connection serves all requests, one after the other. A
// canceled request closes the connection.
type sftpObjects struct {
	cfg Config

	mu   sync.Mutex
	conn net.Conn
	sftp *sftp.Client // nil: not connected
}

const (
	// sshHandshake bounds the time until a connection can be used.
	sshHandshake = 30 * time.Second
	// statsAtOnce is the number of lookups under way on one connection: each takes a round trip.
	statsAtOnce = 16
)

// connect opens a connection with the settings that Litestream's client uses.
func (o *sftpObjects) connect(ctx context.Context) error {
	if o.sftp != nil {
		return nil
	}
	config, err := sshConfig(o.cfg)
	if err != nil {
		return err
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
	o.conn = conn
	o.sftp = client
	return nil
}

// sshConfig returns the host key, the password and the key of a configuration.
func sshConfig(c Config) (*ssh.ClientConfig, error) {
	config := &ssh.ClientConfig{User: c.User, HostKeyCallback: ssh.InsecureIgnoreHostKey(), Timeout: sshHandshake}
	if c.HostKey != "" {
		key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(c.HostKey))
		if err != nil {
			return nil, fmt.Errorf("sftp: read host-key: %w", err)
		}
		config.HostKeyCallback = ssh.FixedHostKey(key)
	}
	if c.Password != "" {
		config.Auth = append(config.Auth, ssh.Password(c.Password))
	}
	if c.KeyPath != "" {
		text, err := os.ReadFile(c.KeyPath)
		if err != nil {
			return nil, fmt.Errorf("sftp: read key-path: %w", err)
		}
		signer, err := ssh.ParsePrivateKey(text)
		if err != nil {
			return nil, fmt.Errorf("sftp: read key-path: %w", err)
		}
		config.Auth = append(config.Auth, ssh.PublicKeys(signer))
	}
	return config, nil
}

// do runs a request. Any error other than fs.ErrExist and fs.ErrNotExist closes the connection.
func (o *sftpObjects) do(ctx context.Context, request func(*sftp.Client) error) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if ctx.Err() != nil { // canceled while it waited for the request before it: the connection stays
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
	o.conn = nil
	o.sftp = nil
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return fmt.Errorf("sftp: %w", err)
}

func (o *sftpObjects) at(name string) string { return path.Join(o.cfg.Path, name) }

func (o *sftpObjects) List(ctx context.Context, dir string) (names []string, err error) {
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

func (o *sftpObjects) Read(ctx context.Context, name string) (data []byte, err error) {
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

// Create opens the file exclusively. A reader sees an empty file until Create has written it. The protocol has no code
// for an existing file: after a failure, Create looks the file up.
func (o *sftpObjects) Create(ctx context.Context, name string, data []byte) error {
	return o.do(ctx, func(c *sftp.Client) error {
		if err := c.MkdirAll(path.Dir(o.at(name))); err != nil {
			return err
		}
		f, err := c.OpenFile(o.at(name), os.O_WRONLY|os.O_CREATE|os.O_EXCL)
		if err != nil {
			if _, lookup := c.Lstat(o.at(name)); lookup == nil {
				return fs.ErrExist
			}
			return err
		}
		_, err = f.Write(data)
		return errors.Join(err, f.Close())
	})
}

// Write writes in place: the record is one packet, and always of the same length.
func (o *sftpObjects) Write(ctx context.Context, name string, data []byte) error {
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

func (o *sftpObjects) Missing(ctx context.Context, _ string, names []string) (missing []string, err error) {
	err = o.do(ctx, func(c *sftp.Client) error {
		var mu sync.Mutex
		var g errgroup.Group
		g.SetLimit(statsAtOnce)
		for _, name := range names {
			g.Go(func() error {
				_, err := c.Stat(o.at(name))
				if !errors.Is(err, fs.ErrNotExist) {
					return err
				}
				mu.Lock()
				defer mu.Unlock()
				missing = append(missing, name)
				return nil
			})
		}
		return g.Wait()
	})
	return missing, err
}

func (o *sftpObjects) Close() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.sftp == nil {
		return nil
	}
	err := o.conn.Close()
	o.conn = nil
	o.sftp = nil
	return err
}
