package link

import "github.com/jcalabro/atmos"

// The identifier syntax of atproto is that of package atmos. Its parsers allocate an error only for an invalid string.

// ValidDID reports whether s is a DID of at most 2048 bytes in atproto's syntax. It accepts every DID method.
func ValidDID(s string) bool {
	_, err := atmos.ParseDID(s)
	return err == nil
}

// ValidNSID reports whether s is a namespaced identifier, such as the name of a collection, of at most 317 bytes.
func ValidNSID(s string) bool {
	_, err := atmos.ParseNSID(s)
	return err == nil
}

// ValidRecordKey reports whether s is a record key of 1 to 512 bytes.
func ValidRecordKey(s string) bool {
	_, err := atmos.ParseRecordKey(s)
	return err == nil
}

// ValidHandle reports whether s has the syntax of a handle: a domain name of at most 253 bytes with at least two
// labels.
func ValidHandle(s string) bool {
	_, err := atmos.ParseHandle(s)
	return err == nil
}
