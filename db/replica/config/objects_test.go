package config

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestStaleStagedFiles: a process that was killed between staging a file and moving it into place leaves no file for
// good, and a file that another process stages now is not removed.
func TestStaleStagedFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	old := filepath.Join(dir, ".weft-1-1.tmp")
	young := filepath.Join(dir, ".weft-2-1.tmp")
	other := filepath.Join(dir, ".weft-old")
	for _, name := range []string{old, young, other} {
		if err := os.WriteFile(name, []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	long := time.Now().Add(-2 * staleAfter)
	for _, name := range []string{old, other} {
		if err := os.Chtimes(name, long, long); err != nil {
			t.Fatal(err)
		}
	}
	o := &dirObjects{root: dir}
	if err := o.Create(t.Context(), "lease/1", []byte("first")); err != nil {
		t.Fatal(err)
	}
	if err := o.Create(t.Context(), "lease/1", []byte("second")); !errors.Is(err, fs.ErrExist) {
		t.Errorf("create a file that exists: %v", err)
	}
	if data, err := o.Read(t.Context(), "lease/1"); string(data) != "first" || err != nil {
		t.Errorf("%q, %v", data, err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if want := []string{".weft-2-1.tmp", ".weft-old", "lease"}; !slices.Equal(names, want) {
		t.Errorf("%q lie there, want %q", names, want)
	}
}

// conditionless is an S3 service that refuses If-None-Match with a status and a code, and keeps objects.
type conditionless struct {
	status int
	code   string

	mu      sync.Mutex
	objects map[string][]byte
}

func (c *conditionless) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	fail := func(status int, code string) {
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(status)
		fmt.Fprintf(w, "<Error><Code>%s</Code><Message>no</Message></Error>", code)
	}
	switch {
	case r.Method == http.MethodPut && r.Header.Get("If-None-Match") != "":
		fail(c.status, c.code)
	case r.Method == http.MethodPut:
		data, _ := io.ReadAll(r.Body)
		c.objects[r.URL.Path] = data
	case c.objects[r.URL.Path] == nil:
		fail(http.StatusNotFound, "NoSuchKey")
	default:
		_, _ = w.Write(c.objects[r.URL.Path])
	}
}

// TestNoConditionalWrites: services say in several ways that they know no conditional writes, and an object is created
// there without one. An error that does not concern the condition stays an error, and the next request has a condition
// again.
func TestNoConditionalWrites(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		status  int
		code    string
		created bool
	}{
		{http.StatusNotImplemented, "NotImplemented", true},
		{http.StatusBadRequest, "NotImplemented", true},
		{http.StatusBadRequest, "InvalidArgument", true},
		{http.StatusBadRequest, "InvalidRequest", true},
		{http.StatusMethodNotAllowed, "MethodNotAllowed", true},
		{http.StatusBadRequest, "RequestTimeout", false},
		{http.StatusForbidden, "AccessDenied", false},
	} {
		t.Run(fmt.Sprint(tc.status, tc.code), func(t *testing.T) {
			t.Parallel()
			service := &conditionless{status: tc.status, code: tc.code, objects: map[string][]byte{}}
			server := httptest.NewServer(service)
			t.Cleanup(server.Close)
			o := &s3Objects{cfg: Config{Type: "s3", Bucket: "b", Path: "p", Endpoint: server.URL, Region: "auto",
				AccessKeyID: "k", SecretAccessKey: "s"}}
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			err := o.Create(ctx, "lease/1", []byte("first"))
			if (err == nil) != tc.created {
				t.Fatalf("create: %v", err)
			}
			if !tc.created {
				if o.unconditional.Load() || len(service.objects) > 0 {
					t.Errorf("%s is taken for a missing condition", tc.code)
				}
				return
			}
			if err := o.Create(ctx, "lease/1", []byte("second")); !errors.Is(err, fs.ErrExist) {
				t.Errorf("create an object that exists: %v", err)
			}
			if data, err := o.Read(ctx, "lease/1"); string(data) != "first" || err != nil {
				t.Errorf("%q, %v", data, err)
			}
		})
	}
}

// hangingObjects hang as the requests of a hanging client do.
type hangingObjects struct {
	Objects
	h *hanging
}

func (o hangingObjects) List(ctx context.Context, _ string) ([]string, error) {
	return nil, o.h.hang(ctx)
}

// TestHungObjects: requests that hang are canceled in their time, a bounded number of them, and none is left when they
// return.
func TestHungObjects(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := &hanging{deaf: true, free: make(chan struct{})}
		b := BoundObjects(hangingObjects{h: h}, DefaultStallTimeout).(*boundedObjects)
		for range maxAbandoned {
			var stalled *StalledError
			if _, err := b.List(t.Context(), "lease"); !errors.As(err, &stalled) {
				t.Fatal(err)
			}
		}
		began := time.Now()
		if _, err := b.List(t.Context(), "lease"); !errors.Is(err, errHanging) || time.Since(began) > 0 {
			t.Errorf("after %s: %v", time.Since(began), err)
		}
		close(h.free)
		synctest.Wait()
		if n := b.abandoned.Load(); n != 0 {
			t.Errorf("%d requests are left behind", n)
		}
	})
}

// TestPanicOfARequest: a panic in a request is raised in the goroutine that asked, which has a name.
func TestPanicOfARequest(t *testing.T) {
	t.Parallel()
	defer func() {
		if p := recover(); p == nil {
			t.Error("the panic is lost")
		}
	}()
	r := &request{what: "panic", limit: time.Minute}
	_, _ = withStallTimeout(t.Context(), r, func(context.Context) (int, error) { panic("a fault") }, func() {},
		func(int) {})
}
