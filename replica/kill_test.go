package replica

// childVariable makes the test binary a child: it holds the child in JSON.
const childVariable = "WEFT_REPLICA_TEST_CHILD"

type child struct{}

func (c child) run() error { return nil }
