// Package wire holds what both ends of Jetstream's older wire share.
package wire

import _ "embed"

// DictionaryV1 is the fixed zstd dictionary of /subscribe, id 1612007021; its licence is in legacy_subscribe.LICENSE.
//
//go:embed legacy_subscribe.zdict
var DictionaryV1 []byte
