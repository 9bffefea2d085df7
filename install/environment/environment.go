// Package environment looks after the environment variables that the daemons are configured by.
package environment

import (
	"strings"

	"github.com/urfave/cli/v2"
)

// Unknown gives a warning for each variable that begins with the prefix and that no flag knows: a misspelt name would
// otherwise silently leave a default in force.
func Unknown(prefix string, flags []cli.Flag, environment []string) []string {
	known := make(map[string]bool)
	for _, flag := range flags {
		if described, ok := flag.(cli.DocGenerationFlag); ok {
			for _, name := range described.GetEnvVars() {
				known[name] = true
			}
		}
	}
	var warnings []string
	for _, setting := range environment {
		name, _, _ := strings.Cut(setting, "=")
		if strings.HasPrefix(name, prefix) && !known[name] {
			warnings = append(warnings, "environment name "+name+" means nothing and is ignored; --help lists those that do")
		}
	}
	return warnings
}
