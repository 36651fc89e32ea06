package top

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"weft.dev/weft/db"
)

// run runs a counter for a time.
func run(t *testing.T, c *Counter, d time.Duration) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); c.Run(ctx) }()
	time.Sleep(d)
	stop()
	<-ended
}

// TestRestart: a counter resumes from its file. It covers the same span, also if the log is now shorter, includes the
// rows since then, counts none twice, and its bounds hold.
func TestRestart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := &memory{}
		r := rand.New(rand.NewPCG(1, 1))
		zipf := rand.NewZipf(r, 1.2, 10, 5000)
		grow := func(rows int) {
			for range rows {
				time.Sleep(3 * time.Second)
				m.add(made(likes, time.Time{}, fmt.Sprint("did:plc:n\xff", zipf.Uint64()))) // no UTF-8
			}
		}
		failed := func(err error) { t.Error(err) }
		config := Config{Log: m, File: filepath.Join(t.TempDir(), "top"), Failed: failed}
		grow(30_000) // 25 hours
		run(t, New(config), time.Hour)
		m.mu.Lock()
		m.pruned = 29_000
		m.mu.Unlock()
		for range 3 {
			grow(500)
			c := New(config)
			run(t, c, time.Minute)
			s := c.Span(time.Now().Add(-MaxSpan))
			if s.Since != time.Now().Add(-MaxSpan) || time.Since(s.Until) > 2*time.Second {
				t.Errorf("after a restart, it counts since %s, until %s", time.Since(s.Since), time.Since(s.Until))
			}
			m.mu.Lock()
			bounds(t, c, m.rows, likes, s.Since)
			bounds(t, c, m.rows, likes, time.Now().Add(-time.Hour))
			most := exact(m.rows, likes, s.Since.Truncate(time.Hour))
			m.mu.Unlock()
			found, _ := c.Candidates(likes, s.Since)
			if n := most[found[0].Target]; found[0].Most > n+n/50 {
				t.Errorf("the first is counted twice: at most %d links, and there are %d", found[0].Most, n)
			}
			if st := c.Status(); st.Span != MaxSpan || st.Age > 2*time.Second || st.Targets < targetsKept || st.Memory < 1<<19 ||
				st.Memory > 64<<20 {
				t.Errorf("the status is %+v", st)
			}
		}
	})
}

// TestSaved: the file is saved while the counter runs, so that a crash loses at most a quarter of an hour.
func TestSaved(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := &memory{}
		file := filepath.Join(t.TempDir(), "top")
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan struct{})
		c := New(Config{Log: m, File: file})
		go func() { defer close(ended); c.Run(ctx) }()
		time.Sleep(time.Minute)
		m.add(made(likes, time.Time{}, "did:plc:bob"))
		time.Sleep(saveEvery)
		synctest.Wait()
		if f, ok := readFile(file); !ok || f.Newest.Seq != 1 || f.Newest.Added != nil {
			t.Errorf("the file has %+v", f)
		}
		stop()
		<-ended
	})
}

// TestUnfitFile: a file that is damaged, of another format or of another log is ignored.
func TestUnfitFile(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := &memory{}
		for range 10 {
			m.add(made(likes, time.Time{}, "did:plc:kept"))
		}
		file := filepath.Join(t.TempDir(), "top")
		config := Config{Log: m, File: file}
		c := New(config)
		for range 5 {
			m.add(made(likes, time.Time{}, "did:plc:lost"))
			_, err := c.Read(t.Context()) // the past is unread: a counter without the file has no counts
			if err != nil {
				t.Fatal(err)
			}
		}
		c.done = true
		err := c.save()
		if err != nil {
			t.Fatal(err)
		}
		whole, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		reads := func(name string, text []byte, want bool) {
			t.Helper()
			err := os.WriteFile(file, text, 0o600)
			if err != nil {
				t.Fatal(err)
			}
			if loaded, err := New(config).load(t.Context()); loaded != want || err != nil {
				t.Errorf("%s: loaded is %v, %v", name, loaded, err)
			}
		}
		reads("the file", whole, true)
		for i := 0; i < len(whole); i += 7 {
			damaged := slices.Clone(whole)
			damaged[i] ^= 0x10
			reads(fmt.Sprintf("byte %d is damaged", i), damaged, false)
			reads(fmt.Sprintf("%d bytes", i), whole[:i], false)
		}
		reads("another format", []byte(strings.Replace(string(whole), "top 1", "top 2", 1)), false)
		for name, change := range map[string]func(){
			"a log that ends before": func() { m.rows = m.rows[:12] },
			"another row":            func() { m.rows[14].Rkey = "other" },
			"a pruned log":           func() { m.pruned = 15 },
			"a day was missed":       func() { m.at[14] = m.at[14].Add(-24 * time.Hour) },
		} {
			rows, at := slices.Clone(m.rows), slices.Clone(m.at)
			change()
			reads(name, whole, false)
			m.rows, m.at, m.pruned = rows, at, 0
		}
		m.fails = true
		err = os.WriteFile(file, whole, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		if loaded, err := New(config).load(t.Context()); loaded || err == nil {
			t.Errorf("a log that cannot be read: %v, %v", loaded, err)
		}
	})
}

// TestFileFails: a failed save is reported, and the counter continues.
func TestFileFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := &memory{}
		failures := 0
		c := New(Config{Log: m, File: filepath.Join(t.TempDir(), "none", "top"), Failed: func(error) { failures++ }})
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); c.Run(ctx) }()
		time.Sleep(time.Minute)
		m.add(made(likes, time.Time{}, "did:plc:bob"))
		time.Sleep(saveEvery)
		synctest.Wait()
		if found, _ := c.Candidates(likes, time.Now().Add(-time.Hour)); len(found) != 1 {
			t.Errorf("%v", found)
		}
		stop()
		<-ended
		if failures != 2 {
			t.Errorf("%d failures are reported", failures)
		}
	})
}

// BenchmarkSave writes and reads a file of full hours of twenty sources.
func BenchmarkSave(b *testing.B) {
	c, rows, now := busy()
	for i := range 19 {
		some := slices.Clone(rows)
		for j := range some {
			some[j].Collection = fmt.Sprint("com.example.feed.c", i)
		}
		c.count(some, now)
	}
	c.cfg.File = filepath.Join(b.TempDir(), "top")
	c.newest = db.LogEntry{Seq: 1}
	b.ResetTimer()
	for b.Loop() {
		err := c.save()
		if err != nil {
			b.Fatal(err)
		}
		_, ok := readFile(c.cfg.File)
		if !ok {
			b.Fatal("it cannot be read")
		}
	}
	info, err := os.Stat(c.cfg.File)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(info.Size())/1e6, "MB")
}
