package wire

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/sourcegraph/jsonrpc2"

	"github.com/contiv/contiv/ofnet/protocol"
)

// EncodeError makes the error member of an answer: the code of a *protocol.Error in the chain, with the whole chain's
// text; CodeUnavailable for a context that ended; else an internal error.
func EncodeError(err error) *jsonrpc2.Error {
	out := &jsonrpc2.Error{Code: jsonrpc2.CodeInternalError, Message: err.Error()}
	if rpc := (*jsonrpc2.Error)(nil); errors.As(err, &rpc) {
		return rpc
	}
	if own := (*protocol.Error)(nil); errors.As(err, &own) {
		out.Code = int64(own.Code)
		if own.Leader != "" {
			out.SetError(protocol.ErrorData{Leader: own.Leader})
		}
	} else if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		out.Code = protocol.CodeUnavailable
	}
	return out
}

// DecodeError turns the error of a call into a *protocol.Error if the peer answered one, and leaves others alone.
func DecodeError(err error) error {
	rpc := (*jsonrpc2.Error)(nil)
	if !errors.As(err, &rpc) {
		return err
	}
	out := &protocol.Error{Code: int(rpc.Code), Message: rpc.Message}
	if rpc.Data != nil {
		var data protocol.ErrorData
		if json.Unmarshal(*rpc.Data, &data) == nil {
			out.Leader = data.Leader
		}
	}
	return out
}

// CheckVersion reports, as CodeRefused, a peer's protocol version that does not work with ours: another major number
// or more than one minor apart.
func CheckVersion(ours, theirs string) error {
	ourMajor, ourMinor, err := parseVersion(ours)
	if err != nil {
		return err
	}
	major, minor, err := parseVersion(theirs)
	if err != nil {
		return err
	}
	if major != ourMajor || minor > ourMinor+1 || minor < ourMinor-1 {
		return protocol.Errorf(protocol.CodeRefused,
			"protocol version %s does not work with %s: at most one minor version apart; upgrade step by step", theirs, ours)
	}
	return nil
}

func parseVersion(text string) (major, minor int, err error) {
	first, second, ok := strings.Cut(text, ".")
	if ok {
		major, err = number(first)
	}
	if ok && err == nil {
		minor, err = number(second)
	}
	if !ok || err != nil {
		return 0, 0, protocol.Errorf(protocol.CodeRefused, "protocol version %q is not of the form 1.0", text)
	}
	return major, minor, nil
}

func number(text string) (int, error) {
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return 0, fmt.Errorf("not a number: %w", err)
	}
	return int(n), nil
}
