package link

import "strings"

// The longest identifiers, in bytes, as the atproto specifications have them.
const (
	maxDID       = 2048
	maxHandle    = 253 // a domain name
	maxLabel     = 63  // a label of a domain name
	maxNSID      = 317 // a domain name, a dot and a label; the domain name alone isn't limited further
	maxRecordKey = 512
)

// ValidDID reports whether s is a DID in atproto's syntax: "did:", a method of small letters, ":", an identifier that
// ends in neither ":" nor "%". At most 2048 bytes. The method needn't be one that atproto supports.
func ValidDID(s string) bool {
	if len(s) > maxDID || !strings.HasPrefix(s, "did:") {
		return false
	}
	i := len("did:")
	for i < len(s) && s[i] >= 'a' && s[i] <= 'z' {
		i++
	}
	if i == len("did:") || i >= len(s)-1 || s[i] != ':' {
		return false
	}
	for i++; i < len(s); i++ {
		if class[s[i]]&inDID == 0 {
			return false
		}
	}
	last := s[len(s)-1]
	return last != ':' && last != '%'
}

// ValidNSID reports whether s is a namespaced identifier such as a collection's: at least three segments, all but the
// last a domain name in reverse whose first segment doesn't begin with a digit, and a last segment of at most 63
// letters and digits that doesn't begin with a digit either. At most 317 bytes.
func ValidNSID(s string) bool {
	dot := strings.LastIndexByte(s, '.')
	if dot < 0 || len(s) > maxNSID {
		return false
	}
	name := s[dot+1:]
	if name == "" || len(name) > maxLabel || !letter(name[0]) || !letter(s[0]) {
		return false
	}
	for i := range len(name) {
		if class[name[i]]&alnum == 0 {
			return false
		}
	}
	return domain(s[:dot])
}

// ValidRecordKey reports whether s is a record key: 1 to 512 letters, digits and "._:~-", but neither "." nor "..".
func ValidRecordKey(s string) bool {
	if s == "" || len(s) > maxRecordKey || s == "." || s == ".." {
		return false
	}
	for i := range len(s) {
		if class[s[i]]&inRecordKey == 0 {
			return false
		}
	}
	return true
}

// ValidHandle reports whether s has the syntax of a handle: a domain name of at least two labels and at most 253 bytes,
// the last of which begins with a letter.
func ValidHandle(s string) bool {
	return len(s) <= maxHandle && domain(s) && letter(s[strings.LastIndexByte(s, '.')+1])
}

// domain reports whether s is at least two labels of 1 to 63 letters, digits and inner hyphens, with dots between.
func domain(s string) bool {
	labels, start := 1, 0
	for i := 0; i <= len(s); i++ {
		switch {
		case i == len(s) || s[i] == '.':
			if i == start || i-start > maxLabel || s[start] == '-' || s[i-1] == '-' {
				return false
			}
			if i < len(s) {
				labels++
			}
			start = i + 1
		case class[s[i]]&alnum == 0 && s[i] != '-':
			return false
		}
	}
	return labels >= 2
}

func letter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }
