package body

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// like is a typical record of app.bsky.feed.like, in DAG-CBOR.
var like, _ = hex.DecodeString(
	"a3652474797065726170702e62736b792e666565642e6c696b65677375626a656374a263636964783b6261667972656966746f7437656c" +
		"7473633366366734716b74796b6d6276366a636d646d686378356f737363616e366a7064786b7071636d637a6163757269784661743a2f" +
		"2f6469643a706c633a72327a79626b366f7033796d7a707a366a6871706b6f79352f6170702e62736b792e666565642e706f73742f336d" +
		"70736a627463693263326f696372656174656441747818323032362d30372d30345431343a33383a30382e3939395a")

// likeFrame is the frame of like from the first version.
var likeFrame, _ = hex.DecodeString(
	"28b52ffd220180d49d0200540366746f7437656c7473633366366734716b74796b6d6276366a636d646d686378356f737363616e366a70" +
		"33796d7a70382e3939395a0afc7f851c6de7ec3e307a287634406c11a89f9255f1aef590a76302")

const likeCID = "bafyreiguce4jh7kcbmof3pmcvasifqtw24b6isakj5ve5ga2b4z4alpc4i"

// TestDictionariesStay checks that a released dictionary never changes, because stored frames need it.
func TestDictionariesStay(t *testing.T) {
	t.Parallel()
	const want = "6fa86e3739b92a7496652cacda1c83abe2c88e3fe576b56fcd2de07b10fbc662"
	if sum := sha256.Sum256(dictionary); hex.EncodeToString(sum[:]) != want {
		t.Errorf("dictionary 32769 has the SHA-256 %x, released was %s", sum, want)
	}
	d, err := zstd.InspectDictionary(dictionary)
	if err != nil {
		t.Fatal(err)
	}
	if d.ID() != 32769 {
		t.Errorf("its ID is %d", d.ID())
	}
	var h zstd.Header
	if err := h.Decode(Encode(nil, like)); err != nil || h.DictionaryID != 32769 {
		t.Errorf("a frame names the dictionary %d, %v", h.DictionaryID, err)
	}
}

// TestStoredFrame checks that old frames stay readable.
func TestStoredFrame(t *testing.T) {
	t.Parallel()
	got, err := Decode(likeFrame)
	if err != nil || !bytes.Equal(got, like) {
		t.Errorf("%q, %v", got, err)
	}
}

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 1))
	noise := make([]byte, Max)
	for i := range noise {
		noise[i] = byte(r.Uint32())
	}
	for _, tc := range []struct {
		name   string
		record []byte
	}{
		{"empty", nil}, {"a byte", []byte{0xa0}}, {"a like", like},
		{"the largest, noise", noise}, {"the largest, zeros", make([]byte, Max)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			frame := Encode([]byte("before"), tc.record)[len("before"):]
			got, err := Decode(frame)
			if err != nil || !bytes.Equal(got, tc.record) {
				t.Errorf("%d bytes came back as %d, %v", len(tc.record), len(got), err)
			}
			if n := Len(frame[:min(len(frame), HeaderLen)]); n != int64(len(tc.record)) {
				t.Errorf("the header has the length %d, not %d", n, len(tc.record))
			}
		})
	}
}

// TestDecodeIsBounded checks that a small frame can't decode to a huge record.
func TestDecodeIsBounded(t *testing.T) {
	t.Parallel()
	frame := Encode(nil, make([]byte, Max+1))
	if got, err := Decode(frame); err == nil {
		t.Errorf("%d bytes of a frame of %d", len(got), len(frame))
	}
}

// TestDictionaryGains checks that the dictionary makes the frame of a like smaller.
func TestDictionaryGains(t *testing.T) {
	t.Parallel()
	plain, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false))
	if err != nil {
		t.Fatal(err)
	}
	if with, without := len(Encode(nil, like)), len(plain.EncodeAll(like, nil)); with*3 > without*2 {
		t.Errorf("%d bytes with the dictionary, %d without, %d as it is", with, without, len(like))
	}
}

func TestCID(t *testing.T) {
	t.Parallel()
	if got := Sum(like).CID(); got != likeCID {
		t.Errorf("the CID is %s, not %s", got, likeCID)
	}
	if d, ok := ParseCID(likeCID); !ok || d != Sum(like) {
		t.Errorf("%x, %t", d, ok)
	}
	for _, tc := range []struct{ name, text string }{
		{"empty", ""},
		{"a blob's", "bafkreias7oxbr6swsuggccmtnqpoeami4jza5x4w3urltn6gzhqf4k6k2e"},
		{"version 0", "QmbWqxBEKC3P8tqsKc98xmWNzrzDtRLMiMPL8wBuTGsMnR"},
		{"cut short", likeCID[:58]},
		{"too long", likeCID + "a"},
		{"upper case", "b" + strings.ToUpper(likeCID[1:])},
		{"of base 58", "z" + likeCID[1:]},
		{"a line end in it", likeCID[:30] + "\n" + likeCID[31:]},
		{"bits too many", likeCID[:58] + "j"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if d, ok := ParseCID(tc.text); ok {
				t.Errorf("%s parses as %x", tc.text, d)
			}
		})
	}
}

// FuzzCID checks that each CID has only one accepted spelling.
func FuzzCID(f *testing.F) {
	f.Add(likeCID)
	f.Fuzz(func(t *testing.T, text string) {
		if d, ok := ParseCID(text); ok && d.CID() != text {
			t.Errorf("%q comes back as %q", text, d.CID())
		}
	})
}

// FuzzDecode checks that no bytes make the decoder panic or return more than Max bytes.
func FuzzDecode(f *testing.F) {
	f.Add(Encode(nil, like))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, frame []byte) {
		if got, err := Decode(frame); err == nil && len(got) > Max {
			t.Errorf("%d bytes", len(got))
		}
		Len(frame)
	})
}

func TestJSON(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, record, want string }{
		{"a like", hex.EncodeToString(like),
			`{"$type":"app.bsky.feed.like","createdAt":"2026-07-04T14:38:08.999Z",` +
				`"subject":{"cid":"bafyreiftot7eltsc3f6g4qktykmbv6jcmdmhcx5osscan6jpdxkpqcmcza",` +
				`"uri":"at://did:plc:r2zybk6op3ymzpz6jhqpkoy5/app.bsky.feed.post/3mpsjbtci2c2o"}}`},
		{"numbers, null, a list", "a46161016162206163f6616481f5", `{"a":1,"b":-1,"c":null,"d":[true]}`},
		{"bytes", "a1616143010203", `{"a":{"$bytes":"AQID"}}`},
		{"a link", "a16161d82a582500" + "01711220" + strings.Repeat("ab", 32),
			`{"a":{"$link":"bafyreiflvov2xk5lvov2xk5lvov2xk5lvov2xk5lvov2xk5lvov2xk5lvm"}}`},
		{"a float", "a16161fb3ff8000000000000", ""},
		{"no object", "01", ""},
		{"cut short", "a161", ""},
		{"something behind", "a000", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			record, err := hex.DecodeString(tc.record)
			if err != nil {
				t.Fatal(err)
			}
			got, err := JSON(record)
			if string(got) != tc.want || (err == nil) != (tc.want != "") {
				t.Errorf("got %s, %v; want %s", got, err, tc.want)
			}
		})
	}
}

// FuzzJSON checks that no bytes make JSON panic.
func FuzzJSON(f *testing.F) {
	f.Add(like)
	f.Add([]byte{0xa0})
	f.Fuzz(func(_ *testing.T, record []byte) { _, _ = JSON(record) })
}

func BenchmarkEncode(b *testing.B) {
	var frame []byte
	for b.Loop() {
		frame = Encode(frame[:0], like)
	}
	b.ReportMetric(float64(len(frame)), "B/body")
}

func BenchmarkDecode(b *testing.B) {
	frame := Encode(nil, like)
	for b.Loop() {
		_, _ = Decode(frame)
	}
}
