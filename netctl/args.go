package netctl

import (
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// flagsFirst moves the flags of each command before its words, because the library stops reading flags at the first
// word. Flags and words keep their order; what follows "--" is words.
func flagsFirst(commands []*cli.Command, known []cli.Flag, args []string) []string {
	var flags, words []string
	for i := 0; i < len(args); i++ {
		arg := args[i]
		switch {
		case arg == "--":
			words = append(words, args[i+1:]...)
			i = len(args)
		case len(arg) > 1 && arg[0] == '-':
			flags = append(flags, arg)
			if takesNext(known, arg) && i+1 < len(args) {
				i++
				flags = append(flags, args[i])
			}
		case len(commands) > 0:
			return append(append(flags, arg), flagsOfCommand(commands, arg, args[i+1:])...)
		default:
			words = append(words, arg)
		}
	}
	if len(words) > 0 {
		flags = append(flags, "--")
	}
	return append(flags, words...)
}

func flagsOfCommand(commands []*cli.Command, name string, rest []string) []string {
	for _, c := range commands {
		if c.HasName(name) {
			return flagsFirst(c.Subcommands, c.Flags, rest)
		}
	}
	return rest
}

// takesNext reports whether the flag's value is the next argument.
func takesNext(known []cli.Flag, arg string) bool {
	name := strings.TrimPrefix(strings.TrimPrefix(arg, "-"), "-")
	if strings.Contains(name, "=") {
		return false
	}
	for _, f := range known {
		if doc, ok := f.(cli.DocGenerationFlag); ok && slices.Contains(f.Names(), name) {
			return doc.TakesValue()
		}
	}
	return false
}

// helpLast makes "help WORDS" the same as "WORDS --help", which the library answers with more.
func helpLast(known []cli.Flag, args []string) []string {
	for i := 0; i < len(args); i++ {
		switch arg := args[i]; {
		case len(arg) > 1 && arg[0] == '-':
			if takesNext(known, arg) {
				i++
			}
		case (arg == "help" || arg == "h") && i+1 < len(args):
			return slices.Concat(args[:i], args[i+1:], []string{"--help"})
		default:
			return args
		}
	}
	return args
}
