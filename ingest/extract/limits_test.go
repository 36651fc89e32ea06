package extract

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestDepth(t *testing.T) {
	t.Parallel()
	// The record is 1 deep, a 2, the array in it 3.
	const record = `{"a":["a:1",["a:2"],{"b":"a:3"},"a:4",{"$type":"t"}],"b":{"c":"a:5"}}`
	for _, x := range []struct {
		depth int
		want  []pair
		deep  uint64
	}{
		{1, nil, 2},
		{2, []pair{{"a[]", "a:1"}, {"a[]", "a:4"}, {"b.c", "a:5"}}, 3},
		{3, []pair{{"a[]", "a:1"}, {"a[][]", "a:2"}, {"a[].b", "a:3"}, {"a[]", "a:4"}, {"b.c", "a:5"}}, 0},
	} {
		t.Run(fmt.Sprint(x.depth), func(t *testing.T) {
			t.Parallel()
			got, dropped := both(t, Limits{MaxDepth: x.depth}, record)
			if !slices.Equal(got, x.want) || dropped != (Dropped{Deep: x.deep}) {
				t.Errorf("got %q, dropped %+v", got, dropped)
			}
		})
	}
}

func TestAbsurdDepth(t *testing.T) {
	t.Parallel()
	const n = 1_000_000
	for _, x := range []struct {
		name, record string
		read         func(*Extractor, []byte) ([]Link, error)
		ok           bool
	}{
		{"json arrays", `{"a":"a:1","b":` + strings.Repeat("[", n) + strings.Repeat("]", n) + `}`, (*Extractor).JSON, true},
		{"json objects", `{"a":"a:1","b":` + strings.Repeat(`{"":`, n) + "0" + strings.Repeat("}", n) + `}`, (*Extractor).JSON, true},
		{"json open", `{"a":"a:1","b":` + strings.Repeat("[", n), (*Extractor).JSON, false},
		{"json closed wrongly", `{"a":"a:1","b":` + strings.Repeat("[", n) + strings.Repeat("}", n) + `}`, (*Extractor).JSON, false},
		{"cbor arrays", "\xa2\x61a\x63a:1\x61b" + strings.Repeat("\x81", n) + "\x00", (*Extractor).CBOR, true},
		{"cbor arrays of two", "\xa2\x61a\x63a:1\x61b" + strings.Repeat("\x82", n) + strings.Repeat("\x00", n+1), (*Extractor).CBOR, true},
		{"cbor maps", "\xa2\x61a\x63a:1\x61b" + strings.Repeat("\xa1\x60", n) + "\x00", (*Extractor).CBOR, true},
		{"cbor open", "\xa2\x61a\x63a:1\x61b" + strings.Repeat("\x81", n), (*Extractor).CBOR, false},
	} {
		for _, depth := range []int{0, 1 << 30} {
			t.Run(fmt.Sprint(x.name, depth), func(t *testing.T) {
				t.Parallel()
				e := New(Limits{MaxDepth: depth})
				start := time.Now()
				links, err := x.read(e, []byte(x.record))
				if took := time.Since(start); took > 2*time.Second {
					t.Errorf("took %v", took)
				}
				if !x.ok {
					if err == nil {
						t.Error("no error")
					}
					return
				}
				if err != nil || len(links) != 1 || e.Dropped() != (Dropped{Deep: 1}) {
					t.Errorf("got %d links, %v, dropped %+v", len(links), err, e.Dropped())
				}
			})
		}
	}
}

// A $type that stands last is found in time that doesn't grow with the depth times the size.
func TestTypesLast(t *testing.T) {
	t.Parallel()
	const depth = 400
	record := strings.Repeat(`{"a":[`, depth) + `"a:1","` + strings.Repeat("x", 1<<20) + `"` + strings.Repeat(`],"$type":"t"}`, depth)
	start := time.Now()
	links, err := New(Limits{MaxDepth: 2 * depth, MaxPath: 1 << 20}).JSON([]byte(record))
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("took %v", took)
	}
	want := "a" + strings.Repeat("[t].a", depth-1) + "[]"
	if err != nil || len(links) != 1 || string(links[0].Path) != want {
		t.Errorf("got %q, %v", pairs(links), err)
	}
}

func TestMaxLinks(t *testing.T) {
	t.Parallel()
	// Each twice: a link that is there already is not one too many.
	var record strings.Builder
	record.WriteString(`{"a":["a:0"`)
	for range 2 {
		for i := range 1100 {
			fmt.Fprintf(&record, `,"a:%d"`, i)
		}
	}
	record.WriteString(`]}`)
	for _, x := range []struct {
		max, want int
		dropped   uint64
	}{{0, 1000, 200}, {1, 1, 2 * 1099}, {16, 16, 2 * 1084}, {17, 17, 2 * 1083}, {64, 64, 2 * 1036}, {1100, 1100, 0}} {
		t.Run(fmt.Sprint(x.max), func(t *testing.T) {
			t.Parallel()
			got, dropped := both(t, Limits{MaxLinks: x.max}, record.String())
			if len(got) != x.want || dropped != (Dropped{Links: x.dropped}) {
				t.Fatalf("got %d links, dropped %+v", len(got), dropped)
			}
			for i, p := range got {
				if want := (pair{"a[]", fmt.Sprintf("a:%d", i)}); p != want {
					t.Fatalf("link %d is %q, want %q", i, p, want)
				}
			}
		})
	}
}

func TestMaxPath(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		name, record string
		want         []pair
		long         uint64
	}{
		{"at the limit", `{"abcdef":"a:1"}`, []pair{{"abcdef", "a:1"}}, 0},
		{"beyond", `{"abcdefg":"a:1","b":"a:2"}`, []pair{{"b", "a:2"}}, 1},
		{"brackets count", `{"abcd":["a:1"],"abcde":["a:2","a:3","no"]}`, []pair{{"abcd[]", "a:1"}}, 2},
		{"dots count", `{"abc":{"de":"a:1","def":"a:2"}}`, []pair{{"abc.de", "a:1"}}, 1},
		{"types count", `{"a":[{"$type":"b","c":"a:1"},{"$type":"bc","d":"a:2"},{"e":"a:3"},"a:4"]}`,
			[]pair{{"a[b].c", "a:1"}, {"a[].e", "a:3"}, {"a[]", "a:4"}}, 1},
		{"all below", `{"abcdefg":{"a":[["a:1"],{"b":"a:2"}]},"c":"a:3"}`, []pair{{"c", "a:3"}}, 2},
		{"no links below", `{"abcdefg":{"a":"b"}}`, nil, 0},
	} {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			got, dropped := both(t, Limits{MaxPath: 6}, x.record)
			if !slices.Equal(got, x.want) || dropped != (Dropped{LongPath: x.long}) {
				t.Errorf("got %q, dropped %+v", got, dropped)
			}
		})
	}
}

func TestNulInKey(t *testing.T) {
	t.Parallel()
	got, dropped := both(t, Limits{}, `{"a\u0000":{"b":"a:1"},"c":"a:2"}`)
	if !slices.Equal(got, []pair{{"c", "a:2"}}) || dropped != (Dropped{BadPath: 1}) {
		t.Errorf("got %q, dropped %+v", got, dropped)
	}
}

func TestTooLong(t *testing.T) {
	t.Parallel()
	if _, err := New(Limits{}).JSON(make([]byte, maxRecord+1)); err == nil {
		t.Error("no error")
	}
}

func TestLinksOutliveBufferGrowth(t *testing.T) {
	t.Parallel()
	var record strings.Builder
	record.WriteString(`{"z":0`)
	for i := range 900 {
		fmt.Fprintf(&record, `,"key%d":"https://example.com/%d"`, i, i)
	}
	record.WriteString(`}`)
	got, _ := both(t, Limits{}, record.String())
	if len(got) != 900 {
		t.Fatalf("got %d links", len(got))
	}
	for i, p := range got {
		if want := (pair{fmt.Sprintf("key%d", i), fmt.Sprintf("https://example.com/%d", i)}); p != want {
			t.Fatalf("link %d is %q, want %q", i, p, want)
		}
	}
}

func TestLargeBuffersAreReleased(t *testing.T) {
	t.Parallel()
	x := New(Limits{})
	record := `{"a":[` + strings.Repeat(`"https://example.com/aaaaaaaaaaaaaaaaaaaa",`, 100_000) + `""]}`
	if _, err := x.JSON([]byte(record)); err != nil {
		t.Fatal(err)
	}
	if _, err := x.JSON([]byte(`{}`)); err != nil {
		t.Fatal(err)
	}
	if cap(x.targets) > keep || cap(x.tape)*12 > keep {
		t.Errorf("keeps %d bytes of targets and %d tokens", cap(x.targets), cap(x.tape))
	}
}
