package logrow

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"

	"modernc.org/sqlite"
)

// checksumFunction is an aggregate function of SQL that adds up the checksums of rows where they are read: to hand each
// row and each of its columns to database/sql takes three times as long as the rest. Its first argument is the kind of
// row, the others are columns.
const checksumFunction = "weft_checksum"

func init() {
	sqlite.MustRegisterFunction(checksumFunction, &sqlite.FunctionImpl{
		NArgs: -1,
		MakeAggregate: func(sqlite.FunctionContext) (sqlite.AggregateFunction, error) {
			return &checksumAggregate{}, nil
		},
		VolatileArgs: true, // Step keeps none of its arguments
	})
}

// sumQuery is how a table's rows are added up, between two values of its key.
type sumQuery struct{ call, table, key string }

var (
	sumStatus = sumQuery{"'a', id, status, ifnull(since_us, 0)", "actors NOT INDEXED", "status <> 0 AND id"}
	sumActors = sumQuery{"'d', id, 0, did", "actors NOT INDEXED", "id"}
	sumNSIDs  = sumQuery{"'c', id, 0, nsid", "collections NOT INDEXED", "id"}
	sumPaths  = sumQuery{"'s', id, collection, path", "sources", "id"}
)

// sumSpan is how many values of a key one query takes: enough that its cost is none, and few enough that it is over
// soon.
const sumSpan = 1 << 20

// add is the sum over the rows whose key is from first to last, in steps of sumSpan values of the key.
func (s *Adder) add(ctx context.Context, q sumQuery, first, last int64) (sum uint64, err error) {
	query := "SELECT ifnull(" + checksumFunction + "(" + q.call + "), 0), count(*) FROM " + q.table + " WHERE " + q.key +
		" BETWEEN ? AND ?"
	for first <= last {
		end := last
		if last-first >= sumSpan {
			end = first + sumSpan - 1
		}
		var part, rows int64
		if err := s.Q.QueryRowContext(ctx, query, first, end).Scan(&part, &rows); err != nil {
			return 0, err
		}
		sum += uint64(part)
		s.count(rows)
		if end == last {
			break // first may not grow beyond what fits
		}
		first = end + 1
	}
	return sum, nil
}

// checksumAggregate is a call of the function.
type checksumAggregate struct{ sum uint64 }

func (a *checksumAggregate) Step(_ *sqlite.FunctionContext, args []driver.Value) error {
	kind, ok := args[0].(string)
	if !ok || len(kind) != 1 {
		return errors.New("no kind of row is given")
	}
	p := values{args: args[1:]}
	switch kind[0] {
	case sumOfStatus:
		s := StatusRow{Actor: p.number(), Status: Status(p.small()), SinceUS: int64(p.number())}
		a.sum += s.Checksum()
	default:
		id := p.number()
		collection := p.number()
		name := p.text()
		a.sum += NameSum(kind[0], id, collection, name)
	}
	if p.err != nil {
		return fmt.Errorf("row %v: %w", args[1], p.err)
	}
	return nil
}

func (a *checksumAggregate) WindowInverse(*sqlite.FunctionContext, []driver.Value) error {
	return errors.New("it is no window function")
}

func (a *checksumAggregate) WindowValue(*sqlite.FunctionContext) (driver.Value, error) {
	return int64(a.sum), nil
}

func (a *checksumAggregate) Final(*sqlite.FunctionContext) {}

// values takes the columns of a row one by one. The first that is of another type than it must be is an error.
type values struct {
	args []driver.Value
	err  error
}

func (c *values) next() (v driver.Value) {
	v = c.args[0]
	c.args = c.args[1:]
	return v
}

func (c *values) wrong(v driver.Value) {
	if c.err == nil {
		c.err = fmt.Errorf("a column holds %v, of type %T", v, v)
	}
}

func (c *values) number() uint64 {
	v := c.next()
	n, ok := v.(int64)
	if !ok {
		c.wrong(v)
	}
	return uint64(n)
}

func (c *values) small() uint8 {
	n := c.number()
	if n > 255 {
		c.wrong(int64(n))
	}
	return uint8(n)
}

func (c *values) text() string {
	v := c.next()
	s, ok := v.(string)
	if !ok {
		c.wrong(v)
	}
	return s
}
