package ovs

import "errors"

// OpenFlow numbers for the ports of endpoints. Below are the tunnel and room for uplinks; above, OpenFlow's own.
const (
	firstNumber = 16
	lastNumber  = 0xfeff
)

var errNoNumber = errors.New("all OpenFlow port numbers of the bridge are in use")

// numbers gives out port numbers, each new one above the last given, so that a number that was freed rests as long as
// possible before it means another port. The zero value is ready. Not safe for concurrent use.
type numbers struct {
	used map[int]bool
	last int
}

// claim marks a number that a port has.
func (n *numbers) claim(number int) {
	if n.used == nil {
		n.used = map[int]bool{}
	}
	n.used[number] = true
	if number >= firstNumber && number <= lastNumber {
		n.last = max(n.last, number)
	}
}

// take finds a free number and marks it.
func (n *numbers) take() (int, error) {
	for range lastNumber - firstNumber + 1 {
		n.last++
		if n.last < firstNumber || n.last > lastNumber {
			n.last = firstNumber
		}
		if !n.used[n.last] {
			n.claim(n.last)
			return n.last, nil
		}
	}
	return 0, errNoNumber
}

// release frees a number.
func (n *numbers) release(number int) { delete(n.used, number) }
