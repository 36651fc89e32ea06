package segment

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"weft.dev/weft/db/lsm"
)

// FixedWidth gives some entries of a run a form of a fixed width. A run stores them in blocks that are not compressed,
// so that a look-up reads and searches one page of the file. The functions must not keep their arguments.
type FixedWidth struct {
	// Size is the length of the fixed form of a key in bytes.
	Size int
	// AppendFixed appends the fixed form of a key; ok is false for a key that has none. Fixed forms compare like keys.
	AppendFixed func(dst, key []byte) (fixed []byte, ok bool)
	// AppendKey appends the key that has a fixed form.
	AppendKey func(dst, fixed []byte) []byte
	// Number returns the number that a value stands for; ok is false for a value that stands for none.
	Number func(value []byte) (n uint64, ok bool)
	// AppendValue appends the value that stands for a number.
	AppendValue func(dst []byte, n uint64) []byte
	// Order returns a number for a key, or for the beginning of one. A key above another never has a lower number.
	Order func(key []byte) uint64
}

// A fixed block holds entries of a fixed width as they are, and a few others:
//
//	block   = 00, which begins no frame of zstd
//	          1 byte: p, the number of leading bytes that the fixed forms of all keys share
//	          1 byte: w, the width of a number
//	          2 bytes, big-endian: the number of fixed entries
//	          8 bytes, big-endian: the lowest number
//	          the p bytes
//	          of each fixed entry, the further bytes of the fixed form of its key
//	          of each fixed entry, its number minus the lowest, w bytes, big-endian
//	          of each other entry: uvarint length + key, uvarint length + value; no key that has a fixed form
const (
	fixedMark       = 0
	fixedHeaderSize = 13
)

// isFixed reports whether the content of a row is a fixed block.
func isFixed(data []byte) bool { return len(data) > 0 && data[0] == fixedMark }

// fixedBlock is a fixed block that was parsed.
type fixedBlock struct {
	n       int // of fixed entries
	lowest  uint64
	shared  []byte
	keys    []byte // further bytes of the fixed forms
	width   int    // of those of each key
	numbers []byte
	others  []byte
}

var errFixed = fmt.Errorf("%w: the header of a fixed block", errDamaged)

// parseFixed parses a fixed block of keys of a size. It refers to data.
func parseFixed(data []byte, size int) (b fixedBlock, err error) {
	if len(data) < fixedHeaderSize || !isFixed(data) || int(data[1]) >= size || data[2] > 8 {
		return b, errFixed
	}
	p := int(data[1])
	w := int(data[2])
	b.n = int(binary.BigEndian.Uint16(data[3:]))
	b.lowest = binary.BigEndian.Uint64(data[5:])
	b.width = size - p
	data = data[fixedHeaderSize:]
	if b.n == 0 || len(data) < p+b.n*(b.width+w) {
		return b, errFixed
	}
	b.shared = data[:p]
	data = data[p:]
	b.keys = data[:b.n*b.width]
	data = data[b.n*b.width:]
	b.numbers = data[:b.n*w]
	b.others = data[b.n*w:]
	return b, nil
}

// find returns the number of a fixed key.
func (b *fixedBlock) find(fixed []byte) (n uint64, ok bool) {
	p := len(b.shared)
	if !bytes.Equal(b.shared, fixed[:p]) {
		return 0, false
	}
	fixed = fixed[p:]
	lo, hi := 0, b.n
	for lo < hi {
		i := (lo + hi) / 2
		order := bytes.Compare(b.keys[i*b.width:(i+1)*b.width], fixed)
		if order == 0 {
			return b.number(i), true
		}
		if order < 0 {
			lo = i + 1
		} else {
			hi = i
		}
	}
	return 0, false
}

// number returns the number of fixed entry i.
func (b *fixedBlock) number(i int) uint64 {
	w := len(b.numbers) / b.n
	n := uint64(0)
	for _, c := range b.numbers[i*w : (i+1)*w] {
		n = n<<8 | uint64(c)
	}
	return b.lowest + n
}

// other returns the first of the other entries, and cuts it from them. ok is false where there is none.
func (b *fixedBlock) other() (e [2][]byte, ok bool, err error) {
	if len(b.others) == 0 {
		return e, false, nil
	}
	for i := range e {
		n, k := uvarint(b.others)
		if k <= 0 || n > len(b.others)-k {
			return e, false, fmt.Errorf("%w: an entry of a fixed block", errDamaged)
		}
		e[i] = b.others[k : k+n]
		b.others = b.others[k+n:]
	}
	if len(e[0]) > lsm.MaxKey {
		return e, false, fmt.Errorf("%w: a key of %d bytes in a fixed block", errDamaged, len(e[0]))
	}
	return e, true, nil
}

// each calls add with all entries of a fixed block in the order of their keys. The slices are valid until add returns.
func (f *FixedWidth) each(data []byte, add func(key, value []byte)) error {
	b, err := parseFixed(data, f.Size)
	if err != nil {
		return err
	}
	var fixed, key, value []byte
	other, more, err := b.other()
	for i := range b.n {
		fixed = append(append(fixed[:0], b.shared...), b.keys[i*b.width:(i+1)*b.width]...)
		key = f.AppendKey(key[:0], fixed)
		for more && bytes.Compare(other[0], key) < 0 {
			add(other[0], other[1])
			other, more, err = b.other()
		}
		value = f.AppendValue(value[:0], b.number(i))
		add(key, value)
	}
	for more {
		add(other[0], other[1])
		other, more, err = b.other()
	}
	return err
}

// block converts a fixed block. All its entries are in memory afterwards, in four times its size.
func (f *FixedWidth) block(data []byte) (*lsm.Block, error) {
	block := lsm.NewBlock(len(data)/f.Size, 4*len(data))
	return block, f.each(data, block.Add)
}

// columns converts a fixed block of a run of a keyspace.
func (f *FixedWidth) columns(data []byte, keyspace *lsm.Keyspace) (*columns, error) {
	var w blockWriter
	if err := f.each(data, w.add); err != nil {
		return nil, err
	}
	c := &columns{keyspace: keyspace}
	return c, c.parse(bytes.Clone(w.encodeRaw()))
}

// fixedWriter collects the entries of a fixed block.
type fixedWriter struct {
	kind *FixedWidth // nil: no entry has a fixed form
	room int         // bytes of a full block

	keys            []byte // fixed forms
	numbers         []uint64
	lowest, highest uint64
	others          []byte
	form            []byte // of the entry that is being added
}

// n returns the number of fixed entries.
func (w *fixedWriter) n() int { return len(w.numbers) }

// fixed returns the fixed form of an entry. ok is false for an entry that has none: then fixed is nil unless the key
// has one. It is valid until the next call.
func (w *fixedWriter) fixed(key, value []byte) (fixed []byte, number uint64, ok bool) {
	if w.kind == nil {
		return nil, 0, false
	}
	w.form, ok = w.kind.AppendFixed(w.form[:0], key)
	if !ok {
		return nil, 0, false
	}
	number, ok = w.kind.Number(value)
	return w.form, number, ok
}

// shared returns the number of leading bytes that the first key and a last one share, and so all between them; fewer
// than all of a key.
func (w *fixedWriter) shared(last []byte) int {
	return min(common(w.keys[:w.kind.Size], last), w.kind.Size-1)
}

// width returns the width in bytes of numbers up to n.
func width(n uint64) (w int) {
	for ; n > 0; n >>= 8 {
		w++
	}
	return w
}

// fits reports whether the block has room for a fixed entry.
func (w *fixedWriter) fits(fixed []byte, number uint64) bool {
	if w.n() == 0 {
		return true
	}
	wide := width(max(w.highest, number) - min(w.lowest, number))
	return w.size(w.n()+1, w.shared(fixed), wide) <= w.room
}

// size returns the size of a block of n fixed entries and the others.
func (w *fixedWriter) size(n, shared, width int) int {
	return fixedHeaderSize + shared + n*(w.kind.Size-shared+width) + len(w.others)
}

// add adds a fixed entry.
func (w *fixedWriter) add(fixed []byte, number uint64) {
	if w.n() == 0 {
		w.lowest = number
		w.highest = number
	}
	w.lowest = min(w.lowest, number)
	w.highest = max(w.highest, number)
	w.keys = append(w.keys, fixed...)
	w.numbers = append(w.numbers, number)
}

// otherShare divides the room of a fixed block for entries of another form: so few of them, which anyone may bring
// between the fixed ones, don't end the block early, and many get a block of their own, where they are compressed.
const otherShare = 4

// addOther adds an entry whose key has no fixed form to a block with fixed entries, if it has room.
func (w *fixedWriter) addOther(key, value []byte) bool {
	more := len(key) + len(value) + 2*binary.MaxVarintLen16
	size := w.size(w.n(), w.shared(w.lastKey()), width(w.highest-w.lowest))
	if len(w.others)+more > w.room/otherShare || size+more > w.room {
		return false
	}
	for _, part := range [][]byte{key, value} {
		w.others = binary.AppendUvarint(w.others, uint64(len(part)))
		w.others = append(w.others, part...)
	}
	return true
}

// lastKey returns the fixed form of the last key.
func (w *fixedWriter) lastKey() []byte { return w.keys[len(w.keys)-w.kind.Size:] }

// encode appends the block to dst and resets the writer.
func (w *fixedWriter) encode(dst []byte) []byte {
	size := w.kind.Size
	p := w.shared(w.lastKey())
	wide := width(w.highest - w.lowest)
	dst = append(dst, fixedMark, byte(p), byte(wide))
	dst = binary.BigEndian.AppendUint16(dst, uint16(w.n()))
	dst = binary.BigEndian.AppendUint64(dst, w.lowest)
	dst = append(dst, w.keys[:p]...)
	for at := 0; at < len(w.keys); at += size {
		dst = append(dst, w.keys[at+p:at+size]...)
	}
	for _, n := range w.numbers {
		for shift := 8 * (wide - 1); shift >= 0; shift -= 8 {
			dst = append(dst, byte((n-w.lowest)>>shift))
		}
	}
	dst = append(dst, w.others...)
	w.keys = w.keys[:0]
	w.numbers = w.numbers[:0]
	w.others = w.others[:0]
	return dst
}

// maxFixedRoom bounds the room of a fixed block in bytes, whose entries are searched without decoding. It also bounds
// their number, which has two bytes.
const maxFixedRoom = 4096

// fixedRoom returns the size of a fixed block that, with its row, fills a page of SQLite. Besides the record, a page
// has at least 35 bytes; besides the block, the record has a header of 4 bytes and a checksum.
func fixedRoom(pageSize int) int { return min(pageSize-35-4-sumSize, maxFixedRoom) }
