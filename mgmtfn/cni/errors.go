package cni

import (
	"context"
	"errors"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/contiv/contiv/mgmtfn"
	"github.com/contiv/contiv/mgmtfn/cni/plugin"
	"github.com/contiv/contiv/ofnet/protocol"
)

// codes of what netmaster refused. CodeNotLeader never reaches a front end, but is transient if it does.
var codes = map[int]uint{
	protocol.CodeNotLeader:   types.ErrTryAgainLater,
	protocol.CodeInvalid:     types.ErrInvalidNetworkConfig,
	protocol.CodeNotFound:    plugin.CodeNotFound,
	protocol.CodeConflict:    plugin.CodeConflict,
	protocol.CodeExhausted:   plugin.CodeExhausted,
	protocol.CodeUnavailable: types.ErrTryAgainLater,
	protocol.CodeRefused:     plugin.CodeRefused,
}

// asError words any failure as a CNI error object.
func asError(err error) *types.Error {
	var (
		ready   *types.Error
		refused *protocol.Error
		not     *mgmtfn.NotReady
	)
	switch {
	case errors.As(err, &ready):
		return ready
	case errors.As(err, &refused):
		if code, ok := codes[refused.Code]; ok {
			return types.NewError(code, err.Error(), "")
		}
	case errors.As(err, &not):
		return types.NewError(types.ErrTryAgainLater, err.Error(), "")
	case errors.Is(err, mgmtfn.ErrNotAttached):
		return types.NewError(types.ErrUnknownContainer, err.Error(), "")
	case errors.Is(err, mgmtfn.ErrDamaged):
		return types.NewError(plugin.CodeDamaged, err.Error(), "")
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return types.NewError(types.ErrTryAgainLater, err.Error(), "")
	}
	return types.NewError(plugin.CodeInternal, err.Error(), "")
}
