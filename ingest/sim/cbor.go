package sim

import "encoding/binary"

// cborw writes canonical DAG-CBOR. It doesn't sort: the templates list the keys of each map in canonical order (by
// length, then bytewise), which a test checks.
type cborw struct{ b []byte }

// head writes an item's head with the shortest argument that fits.
func (w *cborw) head(major byte, v uint64) {
	m := major << 5
	switch {
	case v < 24:
		w.b = append(w.b, m|byte(v))
	case v < 1<<8:
		w.b = append(w.b, m|24, byte(v))
	case v < 1<<16:
		w.b = binary.BigEndian.AppendUint16(append(w.b, m|25), uint16(v))
	case v < 1<<32:
		w.b = binary.BigEndian.AppendUint32(append(w.b, m|26), uint32(v))
	default:
		w.b = binary.BigEndian.AppendUint64(append(w.b, m|27), v)
	}
}

func (w *cborw) object(keys int) { w.head(5, uint64(keys)) }
func (w *cborw) array(n int)     { w.head(4, uint64(n)) }

func (w *cborw) text(s string) {
	w.head(3, uint64(len(s)))
	w.b = append(w.b, s...)
}

func (w *cborw) textBytes(s []byte) {
	w.head(3, uint64(len(s)))
	w.b = append(w.b, s...)
}

func (w *cborw) bytes(s []byte) {
	w.head(2, uint64(len(s)))
	w.b = append(w.b, s...)
}

func (w *cborw) integer(v int64) {
	if v < 0 {
		w.head(1, uint64(-(v + 1)))
		return
	}
	w.head(0, uint64(v))
}

func (w *cborw) boolean(v bool) {
	if v {
		w.b = append(w.b, 0xf5)
		return
	}
	w.b = append(w.b, 0xf4)
}

func (w *cborw) null() { w.b = append(w.b, 0xf6) }

// link writes a CID link: tag 42 on the binary CID behind a zero byte.
func (w *cborw) link(sum [32]byte) {
	w.b = append(w.b, 0xd8, 42, 0x58, 37, 0)
	w.b = append(w.b, cidPrefix[:]...)
	w.b = append(w.b, sum[:]...)
}

// kv writes a key with a text value.
func (w *cborw) kv(key, value string) {
	w.text(key)
	w.text(value)
}

// kvInt writes a key with an integer value.
func (w *cborw) kvInt(key string, value int64) {
	w.text(key)
	w.integer(value)
}

// uri writes at://did/collection/tid as a text, without allocating the string.
func (w *cborw) uri(did, collection string, tid uint64) {
	w.head(3, uint64(len("at://")+len(did)+1+len(collection)+1+13))
	w.b = append(w.b, "at://"...)
	w.b = append(w.b, did...)
	w.b = append(w.b, '/')
	w.b = append(w.b, collection...)
	w.b = append(w.b, '/')
	w.b = appendTID(w.b, tid)
}
