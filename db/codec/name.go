package codec

// The kinds of names, which begin the keys by name.
const (
	KindDID        byte = 'd'
	KindCollection byte = 'c'
	KindSource     byte = 's' // a path in a collection
)

// DIDKey returns the key by name of an account.
func DIDKey(did string) []byte { return append([]byte{KindDID}, did...) }

// CollectionKey returns the key by name of a collection.
func CollectionKey(nsid string) []byte { return append([]byte{KindCollection}, nsid...) }

// SourceKey returns the key by name of a path in a collection.
func SourceKey(collection uint64, path string) []byte {
	return append(AppendID([]byte{KindSource}, collection), path...)
}
