package keep

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func parse(t *testing.T, text string) Rules {
	t.Helper()
	r, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestParse(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, text, want string }{
		{"none", "  ", ""},
		{"of the documentation", "app.bsky.graph.*=forever, app.bsky.feed.like=90d, *=30d",
			"app.bsky.feed.like=90d,app.bsky.graph.*=forever,*=30d"},
		{"a budget", "app.bsky.feed.like = fit, *=30d", "app.bsky.feed.like=fit,*=30d"},
		{"the most specific first",
			"*=1h,app.*=2d,app.bsky.feed.*=3d,app.bsky.feed.like=4d,app.bsky.feed.like:subject.uri=5d",
			"app.bsky.feed.like:subject.uri=5d,app.bsky.feed.like=4d,app.bsky.feed.*=3d,app.*=2d,*=1h"},
		{"one spelling of a time", "*=48h", "*=2d"},
		{"a path with brackets", "app.bsky.feed.post:facets[app.bsky.richtext.facet].features[].uri = 90m",
			"app.bsky.feed.post:facets[app.bsky.richtext.facet].features[].uri=90m"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if got := parse(t, c.text).String(); got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

func TestParseErrors(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, text, want string }{
		{"no time", "app.bsky.feed.like", "at character 1: \"app.bsky.feed.like\" lacks its time: did you mean " +
			"app.bsky.feed.like=90d"},
		{"an empty rule", "*=1d,", "at character 6: a rule is missing"},
		{"an empty time", "*=", "at character 3: the time is missing"},
		{"months", "app.bsky.feed.like=90d, *=3months", "at character 27: \"3months\" is no time: did you mean 3d or 3h?"},
		{"a number alone", "*=90", "did you mean 90d or 90h?"},
		{"another word for ever", "*=all", "did you mean forever?"},
		{"a star within a name", "app.bsky*=1d", "did you mean app.bsky.*?"},
		{"no collection", "like=1d", "at character 1: \"like\" is no collection, source or group"},
		{"a leading dot", "app.bsky.feed.like:.subject.uri=1d", "did you mean app.bsky.feed.like:subject.uri?"},
		{"no path", "app.bsky.feed.like:=1d", "did you mean app.bsky.feed.like?"},
		{"twice", "*=1d, * = 2d", "at character 7: * has two rules"},
		{"too short", "*=1m", "\"1m\" is not from 5m to 36500d"},
		{"too long", "*=40000d", "is not from 5m to 36500d"},
		{"a negative time", "*=-5h", "is not from"},
		{"characters of several bytes", "日本=1d,*=x", "at character 1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r, err := Parse(c.text)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, %v, want %q", r, err, c.want)
			}
		})
	}
}

// FuzzParse: rules survive formatting and parsing, and an error names a place in the text.
func FuzzParse(f *testing.F) {
	for _, text := range []string{"", "*=1h", "app.bsky.graph.*=forever, app.bsky.feed.like=90d, *=fit", "a.b.c:x[].y=36h",
		",=", "*=1h,*"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := Parse(text)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "at character ") || len(r.list) > 0 {
				t.Fatalf("%v, %v", r, err)
			}
			return
		}
		again, err := Parse(r.String())
		if err != nil || !slices.Equal(again.list, r.list) {
			t.Fatalf("%q became %q: %v", text, again, err)
		}
	})
}

const hour = int64(time.Hour / time.Microsecond)

// TestHorizonsNeverGoBack: whatever rules follow one another, the horizon of a source, also of one that comes later, is
// the newest of all.
func TestHorizonsNeverGoBack(t *testing.T) {
	t.Parallel()
	var r Retention
	var rows []Row
	start := 1_770_000_000_000_000 / hour * hour
	step := func(text string, clockUS int64) {
		t.Helper()
		rules := parse(t, text)
		row, due := r.Due(rules, clockUS, 0)
		if !due {
			t.Fatalf("%s at %d: no step is due", text, clockUS)
		}
		rows = slices.DeleteFunc(rows, func(o Row) bool { return o.Rules == row.Rules })
		rows = append(rows, row)
		if err := r.Load(rows); err != nil {
			t.Fatal(err)
		}
		r.Add(1, "a.b.like", "subject")
		r.Add(2, "a.b.post", "embed")
	}
	at := func(like, post int64) {
		t.Helper()
		h := r.Horizons()
		if h.Of(1) != uint64(like) || h.Of(2) != uint64(post) || h.Of(3) != 0 || h.Newest() != uint64(max(like, post)) {
			t.Fatalf("horizons %d and %d, newest %d, want %d and %d", h.Of(1), h.Of(2), h.Newest(), like, post)
		}
	}
	step("a.b.like=1d, *=10d", start)
	at(start-24*hour, start-240*hour)
	if _, due := r.Due(parse(t, "a.b.like=1d, *=10d"), start+hour-1, 0); due {
		t.Error("a step is due before an hour is over")
	}
	step("a.b.like=1d, *=10d", start+hour)
	at(start-23*hour, start-239*hour)
	step("a.b.like=10d, *=5d", start+2*hour)
	at(start-23*hour, start-118*hour)
	st := r.Horizons().Status()
	if len(st) != 2 || !st[0].Since || st[0].HorizonUS != start-23*hour || st[1].Since {
		t.Errorf("%+v: likes are there since an earlier rule", st)
	}
	step("", start+3*hour)
	at(start-23*hour, start-118*hour)
	if st := r.Horizons().Status(); len(st) != 1 || st[0].Pattern != "*" || !st[0].Since {
		t.Errorf("%+v after the last rule was dropped", st)
	}
	step("a.b.like=1d, *=10d", start+4*hour) // rules of before
	at(start-20*hour, start-118*hour)
	if st := r.Horizons().Status(); st[0].Since || !st[1].Since {
		t.Errorf("%+v: posts are there since an earlier rule", st)
	}
}

// TestHour: an index of the last hour has at most a 24th more.
func TestHour(t *testing.T) {
	t.Parallel()
	rule := parse(t, "*=1h").List()[0]
	for at := int64(1_770_000_000_000_000); at < 1_770_000_000_000_000+2*hour; at += 7_000_000 {
		if kept := at - int64(rule.horizon(Row{ClockUS: at})); kept < hour || kept >= hour+hour/24 {
			t.Fatalf("%d microseconds are kept", kept)
		}
	}
}
