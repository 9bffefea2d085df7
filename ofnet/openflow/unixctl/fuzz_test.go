package unixctl

import (
	"context"
	"io"
	"net"
	"testing"
	"time"
)

// FuzzTrace reads any text as a trace: it may refuse it, never panic, and what it accepts has a last pass.
func FuzzTrace(f *testing.F) {
	f.Add("Flow: arp,in_port=1\n\nbridge(\"br\")\n-----\n 0. No match.\n    drop\n\nFinal flow: unchanged\nMegaflow: x\nDatapath actions: drop\n")
	f.Add("Flow: ip\n10. tcp,in_port=1, priority 100, cookie 0x1234567800000001\n    9. priority 1\nDatapath actions: ct(zone=5,nat),recirc(0x4)\n====\nrecirc(0x4) - resume conntrack with default ct_state=trk|new (use\n===\nFlow: x\nDatapath actions: hash(sym_l4(0)),recirc(0x5)\n")
	f.Add("Flow: \n300. priority 99999999\nDatapath actions: ")
	f.Fuzz(func(t *testing.T, text string) {
		passes, err := parseTrace(text)
		if err != nil {
			return
		}
		trace := &Trace{Passes: passes}
		_, _, _ = trace.Last().hashed(), trace.Steps(), trace.Outputs()
		_ = withoutRecirc(trace.Last().Final)
	})
}

// FuzzReply answers a call with any bytes.
func FuzzReply(f *testing.F) {
	f.Add([]byte(`{"id":1,"result":"x","error":null}`))
	f.Add([]byte(`{"id":1,"result":null,"error":"no"}`))
	f.Add([]byte(`{"id":2,"result":[]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		ours, theirs := net.Pipe()
		go func() {
			_, _ = theirs.Read(make([]byte, 4096))
			_, _ = theirs.Write(data)
			_ = theirs.Close()
			_, _ = io.Copy(io.Discard, theirs)
		}()
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		c := newClient(ours)
		_, _ = c.Call(ctx, "x")
		_ = c.Close()
	})
}

// FuzzConnection reads any line as a connection.
func FuzzConnection(f *testing.F) {
	f.Add("udp,orig=(src=10.0.0.1,dst=10.0.0.2,sport=1,dport=53),reply=(src=10.0.0.2,dst=10.0.0.1,sport=53,dport=1),zone=9,mark=3,labels=0x112233445566778899")
	f.Add("icmpv6,orig=(src=fd00::1,dst=fd00::2,id=9,type=128,code=0),reply=(src=fd00::2,dst=fd00::1,id=9,type=129,code=0),zone=9,protoinfo=(state=SYN_SENT)")
	f.Fuzz(func(t *testing.T, line string) {
		if c, ok := parseConnection(line); ok && (!c.Orig.Src.Addr().IsValid() || !c.Reply.Dst.Addr().IsValid()) {
			t.Errorf("%+v", c)
		}
	})
}
