package pipeline

import of "github.com/contiv/contiv/ofnet/openflow"

// Category is what the flows of a cookie count.
type Category uint8

// Categories of flows that count something; others are of no interest to statistics.
const (
	CountsRule Category = categoryPolicy // packets that a rule decided; the object is the rule's id, 0 for parts of rules
	CountsDrop Category = categoryDrop   // dropped packets; the object is the reason, see DropReasons
)

// CategoryOf tells from a cookie, with or without round bits, what its flow counts.
func CategoryOf(cookie uint64) Category {
	return Category(cookie & CookieCategoryMask >> 32) //nolint:gosec // 8 bits
}

// CountingFlows are the queries that answer each flow that counts, once.
func CountingFlows() []of.FlowQuery {
	return []of.FlowQuery{
		{Table: tablePolicy, Cookie: uint64(categoryPolicy) << 32, Mask: CookieCategoryMask, Matches: true},
		{Table: of.AllTables, Cookie: uint64(categoryDrop) << 32, Mask: CookieCategoryMask, Matches: true},
	}
}
