package netctl

import (
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// completeCommand is what the shells call: its words are those of the command line so far, the last one unfinished.
const completeCommand = "__complete"

// completionScripts tell a shell to ask netctl what may come next.
var completionScripts = map[string]string{
	"bash": `_netctl() {
    local IFS=$'\n'
    COMPREPLY=($(compgen -W "$(netctl ` + completeCommand + ` -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)" -- "${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _netctl netctl
`,
	"zsh": `#compdef netctl
_netctl() {
    local -a candidates
    candidates=(${(f)"$(netctl ` + completeCommand + ` -- "${(@)words[2,CURRENT]}" 2>/dev/null)"})
    if (( ${#candidates} )); then compadd -- $candidates; else _files; fi
}
compdef _netctl netctl
`,
	"fish": `complete -c netctl -f -a '(netctl ` + completeCommand + ` -- (commandline -opc)[2..-1] (commandline -ct) 2>/dev/null)'
`,
}

func (p *program) completionCommand() *cli.Command {
	return &cli.Command{
		Name: "completion", Usage: "print a script that completes netctl's commands in a shell", ArgsUsage: "SHELL",
		Description: "SHELL is bash, zsh or fish. For bash: source <(netctl completion bash)",
		Action: func(c *cli.Context) error {
			words, err := p.arguments(c, "SHELL")
			if err != nil {
				return err
			}
			script, ok := completionScripts[words[0]]
			if !ok {
				return p.usage(c, "shell %q is unknown; it is bash, zsh or fish", words[0])
			}
			return p.printf("%s", script)
		},
	}
}

// complete prints what the last word may become, one candidate a line.
func (p *program) complete(app *cli.App, words []string) error {
	for _, candidate := range candidates(app, words) {
		if err := p.printf("%s\n", candidate); err != nil {
			return err
		}
	}
	return nil
}

// candidates are the names of commands or flags that the last word is the beginning of, sorted. Words of other kinds,
// such as the names of objects, have none.
func candidates(app *cli.App, words []string) []string {
	if len(words) == 0 {
		words = []string{""}
	}
	commands, flags := app.Commands, app.Flags
	before, last := words[:len(words)-1], words[len(words)-1]
	for i := 0; i < len(before); i++ {
		word := before[i]
		if strings.HasPrefix(word, "-") {
			if takesNext(flags, word) {
				if i++; i == len(before) {
					return nil // the value of a flag
				}
			}
			continue
		}
		at := slices.IndexFunc(commands, func(c *cli.Command) bool { return c.HasName(word) })
		if at < 0 {
			commands = nil // a word that is no command's
			continue
		}
		commands, flags = commands[at].Subcommands, commands[at].Flags
	}
	var found []string
	if strings.HasPrefix(last, "-") {
		found = flagNames(flags)
	} else {
		for _, c := range commands {
			found = append(found, c.Name)
		}
	}
	found = slices.DeleteFunc(found, func(name string) bool { return !strings.HasPrefix(name, last) })
	slices.Sort(found)
	return found
}

// flagNames are the long forms of flags.
func flagNames(flags []cli.Flag) []string {
	names := []string{"--help"}
	for _, f := range flags {
		names = append(names, fmt.Sprintf("--%s", f.Names()[0]))
	}
	return names
}
