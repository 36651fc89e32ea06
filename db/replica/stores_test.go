package replica

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"

	"weft.dev/weft/db/replica/config"
)

// stock builds and runs the programs of others.
var stock = flag.Bool("stock", false,
	"build stock Litestream, as tools/go.mod pins it, and hold the replica against it")

// litestreamProgram builds the stock Litestream that tools/go.mod pins, and answers its path.
var litestreamProgram = sync.OnceValues(func() (path string, err error) {
	dir, err := os.MkdirTemp("", "weft-replica-tools-")
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 8*time.Minute) // cold, on two cores that are busy
	defer cancel()
	out, err := exec.CommandContext(ctx, "go", "build", "-C", filepath.Join("..", "..", "tools"), "-o",
		dir+string(filepath.Separator),
		"github.com/benbjohnson/litestream/cmd/litestream").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("the Litestream pinned in tools/go.mod can't be built; with no module cache this needs "+
			"the network: %w\n%s", err, out)
	}
	return filepath.Join(dir, "litestream"), nil
})

// stockLitestream is the path of stock Litestream; empty without -stock. A Litestream that can't be built fails the
// test.
func stockLitestream(t *testing.T) string {
	t.Helper()
	if !*stock {
		return ""
	}
	path, err := litestreamProgram()
	must(t, err)
	return path
}

// store is a place for a replica that can fail.
type store struct {
	cfg     config.Config // with neither DB nor intervals
	yml     string        // the same for stock Litestream: the fields of a replica
	fault   *atomic.Int32
	hang    *atomic.Bool  // while it is true, the store answers nothing that is sent to it; nil: it can't be made to hang
	conns   *atomic.Int64 // connections that are open; nil: they aren't counted
	busy    *atomic.Int64 // requests that the server is at; nil: they aren't counted
	restart func()        // cuts all connections and starts the server again; nil: there is none
}

// What a store may be told to do.
const (
	storeWell    = iota
	storeAway    // connections are cut
	storeFailing // 503
	storeSlow    // half a second for each request
	storeHung    // every other request is taken and never answered
	storeFaults
)

// newStore makes a store of a kind: file, s3 or sftp.
func newStore(t *testing.T, kind string) *store {
	t.Helper()
	switch kind {
	case "s3":
		return newS3(t)
	case "sftp":
		return newSFTP(t)
	}
	path := filepath.Join(t.TempDir(), "replica")
	return &store{cfg: config.Config{Type: "file", Path: path}, yml: "path: " + path}
}

// newS3 starts an S3 server in this process. It keeps its objects over a restart, and fails as the test says.
func newS3(t *testing.T) *store {
	t.Helper()
	objects := s3mem.New()
	must(t, objects.CreateBucket("bucket"))
	s3 := gofakes3.New(objects).Server()
	s := &store{fault: new(atomic.Int32), busy: new(atomic.Int64)}
	var served atomic.Int64
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.busy.Add(1)
		defer s.busy.Add(-1)
		n := served.Add(1)
		switch s.fault.Load() {
		case storeHung:
			if n%2 == 0 {
				_, _ = io.Copy(io.Discard, r.Body)
				<-r.Context().Done()
				panic(http.ErrAbortHandler)
			}
		case storeAway:
			panic(http.ErrAbortHandler)
		case storeFailing:
			http.Error(w, "SlowDown", http.StatusServiceUnavailable)
			return
		case storeSlow:
			select {
			case <-time.After(500 * time.Millisecond):
			case <-r.Context().Done():
			}
		}
		s3.ServeHTTP(w, r)
	})
	l := listen(t)
	address := l.Addr().String()
	var server *http.Server
	begin := func() {
		// gofakes3 writes its headers twice where a body breaks off.
		server = &http.Server{Handler: handler, ErrorLog: log.New(io.Discard, "", 0)}
		go func(server *http.Server) { _ = server.Serve(l) }(server)
	}
	begin()
	t.Cleanup(func() { _ = server.Close() })
	s.restart = func() {
		_ = server.Close()
		var err error
		l, err = net.Listen("tcp", address)
		must(t, err)
		begin()
	}
	s.cfg = config.Config{Type: "s3", Bucket: "bucket", Path: "weft/test", Endpoint: "http://" + address,
		Region: "us-east-1", AccessKeyID: "key", SecretAccessKey: "secret"}
	s.yml = fmt.Sprintf(
		"{type: s3, bucket: bucket, path: weft/test, endpoint: 'http://%s', region: us-east-1, access-key-id: key, secret-access-key: secret}", address)
	return s
}

// newSFTP starts an SSH server with SFTP in this process, so that the tests need no server program.
func newSFTP(t *testing.T) *store {
	t.Helper()
	key := func() (ssh.Signer, []byte) {
		_, private, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		signer, err := ssh.NewSignerFromKey(private)
		if err != nil {
			t.Fatal(err)
		}
		block, err := ssh.MarshalPrivateKey(private, "")
		if err != nil {
			t.Fatal(err)
		}
		return signer, pem.EncodeToMemory(block)
	}
	host, _ := key()
	user, private := key()
	keyPath := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(keyPath, private, 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := &ssh.ServerConfig{PublicKeyCallback: func(_ ssh.ConnMetadata, k ssh.PublicKey) (*ssh.Permissions, error) {
		if string(k.Marshal()) != string(user.PublicKey().Marshal()) {
			return nil, fmt.Errorf("another key")
		}
		return nil, nil
	}}
	cfg.AddHostKey(host)
	l, hang, conns := listen(t), new(atomic.Bool), new(atomic.Int64)
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			conns.Add(1)
			go func() {
				defer conns.Add(-1)
				serveSSH(&hungConn{c, hang}, cfg)
			}()
		}
	}()
	hostKey := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(host.PublicKey())))
	path := filepath.Join(t.TempDir(), "replica")
	return &store{
		hang: hang, conns: conns,
		cfg: config.Config{Type: "sftp", Host: l.Addr().String(), User: "weft", KeyPath: keyPath, HostKey: hostKey,
			Path: path},
		yml: fmt.Sprintf("{type: sftp, host: '%s', user: weft, key-path: '%s', host-key: '%s', path: '%s'}", l.Addr(),
			keyPath, hostKey, path),
	}
}

// hungConn is a connection whose peer is not heard while it hangs.
type hungConn struct {
	net.Conn
	hang *atomic.Bool
}

func (c *hungConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	for c.hang.Load() {
		time.Sleep(10 * time.Millisecond)
	}
	return n, err
}

// serveSSH serves SFTP on one connection until the client closes it.
func serveSSH(c net.Conn, cfg *ssh.ServerConfig) {
	conn, channels, requests, err := ssh.NewServerConn(c, cfg)
	if err != nil {
		return
	}
	defer func() { _ = conn.Close() }()
	go ssh.DiscardRequests(requests)
	for n := range channels {
		channel, requests, err := n.Accept()
		if err != nil {
			return
		}
		go serveSFTP(channel, requests)
	}
}

// serveSFTP answers the requests of one channel with the files of this machine.
func serveSFTP(channel ssh.Channel, requests <-chan *ssh.Request) {
	defer func() { _ = channel.Close() }()
	for r := range requests {
		ok := r.Type == "subsystem"
		_ = r.Reply(ok, nil)
		if !ok {
			continue
		}
		go ssh.DiscardRequests(requests)
		server, err := sftp.NewServer(channel)
		if err == nil {
			_ = server.Serve()
		}
		return
	}
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}
