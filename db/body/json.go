package body

import (
	"fmt"

	"github.com/jcalabro/atmos/cbor"
)

// JSON converts a record's DAG-CBOR to JSON of the atproto data model: {"$link": …} for CIDs, {"$bytes": …} for
// bytes. Values outside that model, such as floats, are an error.
func JSON(record []byte) ([]byte, error) {
	v, err := cbor.Unmarshal(record)
	if err != nil {
		return nil, fmt.Errorf("body: decode a record: %w", err)
	}
	if _, ok := v.(map[string]any); !ok {
		return nil, fmt.Errorf("body: a record must be an object, not a %T", v)
	}
	text, err := cbor.ToJSON(v)
	if err != nil {
		return nil, fmt.Errorf("body: encode a record as JSON: %w", err)
	}
	return text, nil
}
