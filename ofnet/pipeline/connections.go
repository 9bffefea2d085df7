package pipeline

import of "github.com/contiv/contiv/ofnet/openflow"

// connections are the flows between CT_IN and SVC_STATS that know no record: what is done to a packet of a connection by
// the state of that.
//
// A packet in the direction of the first one is judged by the rules each time it misses the switch's caches, so that a
// change of the rules reaches connections that are there. Denied then, a connection is marked, and its replies are
// dropped by the mark; allowed again, the next packet takes the mark off.
func (u *unit) connections() {
	base := cookie(categoryBase, 0)
	zone := regCTZone.Range()
	blocked := of.CTMark(1<<7, 1<<7)
	for _, family := range []of.Term{isIP4, isIP6} {
		in := func(set, clear of.CTFlags, more ...of.Term) of.Match {
			return of.NewMatch(append(more, family, of.CTState(set|of.CTTrk, clear))...)
		}
		u.add(base, tableCTIn, 100, of.NewMatch(family), of.Do(of.CT{Table: tableCTState, ZoneFrom: zone, NAT: of.RestoreNAT()}.Action()), 0)

		u.drop(dropInvalid, tableCTState, 200, in(of.CTInv, 0))
		u.drop(dropBlocked, tableCTState, 190, in(of.CTEst|of.CTRpl, 0, blocked))
		u.drop(dropBlocked, tableCTState, 190, in(of.CTRel, 0, blocked))
		u.add(base, tableCTState, 180, in(of.CTEst|of.CTRpl, 0), nothing, tableSvcStats)
		u.add(base, tableCTState, 180, in(of.CTRel, 0), nothing, tableSvcStats)
		u.add(base, tableCTState, 170, in(of.CTEst, of.CTRpl), nothing, tableSrcGroup)
		u.add(base, tableCTState, 110, in(of.CTNew, 0, regProbe.Is(1)), nothing, 0) // its connection has gone
		u.add(base, tableCTState, 100, in(of.CTNew, 0), of.Do(of.Resubmit(tableAffinity)), tableAffDNAT)

		// The userspace datapath tracks a packet whole and goes on with its fragments, of which only the first has what
		// rules ask for. The others are allowed: the tracker, to which what is allowed comes once more, holds them until
		// the first is there, and forgets them without it. A first one that is denied must not come to the tracker: it
		// would make them whole, and allowed.
		u.add(base, tablePolicy, 1000, in(0, 0, of.LaterFragment()), nothing, tableCTCommit)
		u.drop(dropPolicy, tableDeny, 120, in(of.CTEst, 0, of.FirstFragment()))

		remember := of.CT{Commit: true, Table: tableSvcSNAT, ZoneFrom: zone, Exec: of.Do(
			of.Move(regSrcClass.Range(), markOrigin), of.Move(regRuleID.Range(), labelRuleID), markBlocked.Load(0))}
		u.add(base, tableCTCommit, 100, in(of.CTNew, 0), of.Do(remember.Action()), 0)
		unblock := of.CT{Commit: true, Table: tableSvcSNAT, ZoneFrom: zone, Exec: of.Do(markBlocked.Load(0))}
		u.add(base, tableCTCommit, 110, in(of.CTEst, 0, blocked), of.Do(unblock.Action()), 0)

		u.drop(dropPolicy, tableDeny, 110, in(of.CTEst, 0, blocked))
		block := of.CT{Commit: true, ZoneFrom: zone, Exec: of.Do(markBlocked.Load(1))}
		u.add(cookie(categoryDrop, dropPolicy), tableDeny, 100, in(of.CTEst, 0), of.Do(block.Action()), 0)
		// A connection to a service is known since it has a provider.
		u.add(cookie(categoryDrop, dropPolicy), tableDeny, 100, in(of.CTNew, 0, inService), of.Do(block.Action()), 0)
	}
	u.drop(dropPolicy, tableDeny, 0, of.Match{})
	u.add(base, tableSvcSNAT, 300, of.NewMatch(regProbe.Is(1)), nothing, 0)
}
