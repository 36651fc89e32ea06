// Package dictionary embeds the zstd dictionary of Jetstream's v1 streams. The client and the synthetic server share
// it.
package dictionary

import _ "embed"

// V1 is the fixed dictionary of /subscribe, id 1612007021. Its licence is in legacy_subscribe.LICENSE.
//
//go:embed legacy_subscribe.zdict
var V1 []byte
