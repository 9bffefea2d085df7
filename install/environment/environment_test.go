package environment

import (
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

func TestUnknown(t *testing.T) {
	flags := []cli.Flag{&cli.StringFlag{Name: "a", EnvVars: []string{"X_A"}}, &cli.BoolFlag{Name: "b"}}
	got := Unknown("X_", flags, []string{"X_A=1", "X_B=", "OTHER=1", "X_"})
	if len(got) != 2 || !strings.Contains(got[0], "X_B ") || !strings.Contains(got[1], "X_ ") {
		t.Errorf("warnings: %q", got)
	}
}
