package body

import (
	"fmt"

	"github.com/jcalabro/atmos/cbor"
)

// JSON turns a record's DAG-CBOR into JSON of the atproto data model: {"$link": …} for CIDs, {"$bytes": …} for bytes. What
// that model doesn't have, such as floats, is an error.
func JSON(record []byte) ([]byte, error) {
	v, err := cbor.Unmarshal(record)
	if err != nil {
		return nil, fmt.Errorf("body: read a record: %w", err)
	}
	if _, ok := v.(map[string]any); !ok {
		return nil, fmt.Errorf("body: a record is an object, and this is a %T", v)
	}
	text, err := cbor.ToJSON(v)
	if err != nil {
		return nil, fmt.Errorf("body: write a record as JSON: %w", err)
	}
	return text, nil
}
