package ovs

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"os"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/contiv/contiv/drivers"
	"github.com/contiv/contiv/ofnet/pipeline"
)

// The rules of the kernel are in a table of their own, inet contiv, which is replaced in one transaction. An empty chain
// whose name is a digest of the rules tells whether they are current.
const (
	rulesTable  = "contiv"
	digestChain = "rules-"
)

// natRule is a rule in the order of its parts: interfaces, source, what else, verdict.
type natRule struct {
	says  string // for the digest; as nft would print it
	exprs []expr.Any
}

func rule(says string, parts ...[]expr.Any) natRule {
	r := natRule{says: says}
	for _, p := range parts {
		r.exprs = append(r.exprs, p...)
	}
	return r
}

// outRules masquerade what comes from the private subnets and leaves the host.
func outRules(want *pipeline.HostAccess) []natRule {
	masquerade := []expr.Any{&expr.Masq{}}
	other := link(expr.MetaKeyOIFNAME, expr.CmpOpNeq)
	return []natRule{
		rule(fmt.Sprintf("ip saddr %v oifname != %s masquerade", want.Subnet, HostLink), other, source(want.Subnet, expr.CmpOpEq), masquerade),
		rule(fmt.Sprintf("ip6 saddr %v oifname != %s masquerade", want.Subnet6, HostLink), other, source(want.Subnet6, expr.CmpOpEq), masquerade),
	}
}

// forwardRules keep containers from the networks of other tenants, which the host reaches as an endpoint of its own, and
// everybody but the host from containers, answers apart.
func forwardRules() []natRule {
	in, out := link(expr.MetaKeyIIFNAME, expr.CmpOpEq), link(expr.MetaKeyOIFNAME, expr.CmpOpEq)
	return []natRule{
		rule(fmt.Sprintf("iifname %s oifgroup %d drop", HostLink, drivers.InfraLinkGroup), in, linkGroup(drivers.InfraLinkGroup), verdict(expr.VerdictDrop)),
		rule(fmt.Sprintf("oifname %s ct state established,related accept", HostLink), out, answers(), verdict(expr.VerdictAccept)),
		rule(fmt.Sprintf("oifname %s drop", HostLink), out, verdict(expr.VerdictDrop)),
	}
}

// link compares an interface's name with HostLink.
func link(key expr.MetaKey, op expr.CmpOp) []expr.Any {
	name := make([]byte, unix.IFNAMSIZ)
	copy(name, HostLink)
	return []expr.Any{&expr.Meta{Key: key, Register: 1}, &expr.Cmp{Op: op, Register: 1, Data: name}}
}

func linkGroup(group uint32) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyOIFGROUP, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binaryutil.NativeEndian.PutUint32(group)},
	}
}

// source compares the source address with a subnet whose length is a whole number of bytes.
func source(p netip.Prefix, op expr.CmpOp) []expr.Any {
	family, offset := byte(unix.NFPROTO_IPV4), uint32(12)
	if p.Addr().Is6() {
		family, offset = unix.NFPROTO_IPV6, 8
	}
	length := p.Bits() / 8
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1}, &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{family}},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: uint32(length)}, //nolint:gosec // at most 16
		&expr.Cmp{Op: op, Register: 1, Data: p.Addr().AsSlice()[:length]},
	}
}

// answers matches packets of connections that are there.
func answers() []expr.Any {
	none := binaryutil.NativeEndian.PutUint32(0)
	return []expr.Any{
		&expr.Ct{Register: 1, Key: expr.CtKeySTATE},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Xor: none,
			Mask: binaryutil.NativeEndian.PutUint32(expr.CtStateBitESTABLISHED | expr.CtStateBitRELATED)},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: none},
	}
}

func verdict(kind expr.VerdictKind) []expr.Any { return []expr.Any{&expr.Verdict{Kind: kind}} }

// ensureRules makes the rules current, in the calling thread's network namespace.
func ensureRules(want *pipeline.HostAccess) error {
	conn, err := nftables.New()
	if err != nil {
		return fmt.Errorf("opening a socket for nftables: %w", err)
	}
	out, through := outRules(want), forwardRules()
	digest := digestOf(out, through)
	if current, err := hasRules(conn, digest, len(out)+len(through)); err != nil || current {
		return err
	}
	table := &nftables.Table{Family: nftables.TableFamilyINet, Name: rulesTable}
	conn.AddTable(table) // so that it can be deleted
	conn.DelTable(table)
	conn.AddTable(table)
	post := conn.AddChain(&nftables.Chain{Name: "postrouting", Table: table, Type: nftables.ChainTypeNAT,
		Hooknum: nftables.ChainHookPostrouting, Priority: nftables.ChainPriorityNATSource})
	forward := conn.AddChain(&nftables.Chain{Name: "forward", Table: table, Type: nftables.ChainTypeFilter,
		Hooknum: nftables.ChainHookForward, Priority: nftables.ChainPriorityFilter})
	conn.AddChain(&nftables.Chain{Name: digest, Table: table})
	for _, r := range out {
		conn.AddRule(&nftables.Rule{Table: table, Chain: post, Exprs: r.exprs})
	}
	for _, r := range through {
		conn.AddRule(&nftables.Rule{Table: table, Chain: forward, Exprs: r.exprs})
	}
	if err := conn.Flush(); err != nil {
		return fmt.Errorf("writing nftables table inet %s (does the kernel have nf_tables with NAT?): %w", rulesTable, err)
	}
	return nil
}

func digestOf(lists ...[]natRule) string {
	var text bytes.Buffer
	for _, list := range lists {
		for _, r := range list {
			text.WriteString(r.says + "\n")
		}
	}
	sum := sha256.Sum256(text.Bytes())
	return digestChain + hex.EncodeToString(sum[:6])
}

// hasRules tells whether the table is there with a digest and as many rules as it should have.
func hasRules(conn *nftables.Conn, digest string, count int) (bool, error) {
	chains, err := conn.ListChainsOfTableFamily(nftables.TableFamilyINet)
	if err != nil {
		return false, fmt.Errorf("listing nftables chains (does the kernel have nf_tables?): %w", err)
	}
	current, found := false, 0
	for _, chain := range chains {
		if chain.Table.Name != rulesTable {
			continue
		}
		if chain.Name == digest {
			current = true
		}
		rules, err := conn.GetRules(chain.Table, chain)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return false, fmt.Errorf("listing the rules of nftables chain %s: %w", chain.Name, err)
		}
		found += len(rules)
	}
	return current && found == count, nil
}

// removeRules deletes the table, if it is there, in the calling thread's network namespace.
func removeRules() error {
	conn, err := nftables.New()
	if err != nil {
		return nil //nolint:nilerr // a kernel without nftables has no rules
	}
	tables, err := conn.ListTablesOfFamily(nftables.TableFamilyINet)
	if err != nil {
		return nil //nolint:nilerr // the same
	}
	for _, table := range tables {
		if table.Name == rulesTable {
			conn.DelTable(table)
			if err := conn.Flush(); err != nil {
				return fmt.Errorf("removing nftables table inet %s: %w", rulesTable, err)
			}
		}
	}
	return nil
}
