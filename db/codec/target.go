package codec

import (
	"fmt"
	"strings"

	"weft.dev/weft/link"
)

const (
	TagAccount byte = 1 // begins the targets of an account
	TagText    byte = 2 // begins the targets that are stored as text

	formDID        byte = 0
	formRepo       byte = 1
	formCollection byte = 2
)

// SplitTarget splits a normalised target. ok reports that it is a DID or an at-uri of a DID's repo, collection or
// record; any other target is stored as text.
func SplitTarget(target string) (did, collection, rkey string, ok bool) {
	if strings.HasPrefix(target, "did:") {
		return target, "", "", true
	}
	return link.SplitRecord(target)
}

// AppendTextTarget encodes a target that is stored as text.
func AppendTextTarget(dst []byte, target string) []byte {
	return append(append(append(dst, TagText), target...), 0)
}

// AppendTarget encodes the parts of a target: of a DID when bare, else of an at-uri. collection is 0 and rkey is empty
// where the at-uri ends before them.
func AppendTarget(dst []byte, bare bool, account, collection uint64, rkey string) []byte {
	dst = AppendID(append(dst, TagAccount), account)
	switch {
	case bare:
		return append(dst, formDID)
	case collection == 0:
		return append(dst, formRepo)
	}
	dst = AppendID(append(dst, formCollection), collection)
	if rkey == "" {
		return append(dst, rkeyNone)
	}
	return AppendRkey(dst, rkey)
}

// AccountTargets returns the prefix of the targets of an account.
func AccountTargets(account uint64) []byte { return AppendID([]byte{TagAccount}, account) }

// TextTargets returns the prefix of the targets that are stored as text and begin with prefix.
func TextTargets(prefix string) []byte { return append([]byte{TagText}, prefix...) }

// Target is a decoded target. Its slices alias the key.
type Target struct {
	Text         []byte // of a target that is stored as text, and then the other fields are zero
	Bare         bool   // a DID
	AccountID    uint64
	CollectionID uint64 // 0: none
	Rkey         []byte // encoded; nil: none
}

// DecodeTarget decodes a target that is all of key.
func DecodeTarget(key []byte) (t Target, err error) {
	if len(key) == 0 || TargetLen(key) != len(key) {
		return t, fmt.Errorf("target %x: %w", key, ErrMalformed)
	}
	if key[0] == TagText {
		t.Text = key[1 : len(key)-1]
		return t, nil
	}
	t.AccountID, key, _ = DecodeID(key[1:])
	switch key[0] {
	case formDID:
		t.Bare = true
	case formCollection:
		t.CollectionID, key, _ = DecodeID(key[1:])
		if key[0] != rkeyNone {
			t.Rkey = key
		}
	}
	return t, nil
}

// TargetLen returns the length of the target at the front of key; 0: there is none.
func TargetLen(key []byte) int {
	if len(key) < 3 {
		return 0
	}
	if key[0] == TagText {
		if n := textLen(key[1:]); n > 0 {
			return 1 + n
		}
		return 0
	}
	_, rest, err := DecodeID(key[1:])
	if key[0] != TagAccount || err != nil || len(rest) == 0 {
		return 0
	}
	n := len(key) - len(rest) + 1
	if rest[0] != formCollection {
		return n
	}
	_, rest, err = DecodeID(rest[1:])
	if err != nil || len(rest) == 0 {
		return 0
	}
	if rest[0] == rkeyNone {
		return len(key) - len(rest) + 1
	}
	_, rest, err = DecodeRkey(rest)
	if err != nil {
		return 0
	}
	return len(key) - len(rest)
}
