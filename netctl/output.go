package netctl

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/urfave/cli/v2"

	"github.com/contiv/contiv/netmaster/client"
)

func tenantFlag() cli.Flag {
	return &cli.StringFlag{Name: "tenant", Aliases: []string{"t"}, Value: "default", Usage: "`NAME` of the tenant"}
}

func allFlag() cli.Flag {
	return &cli.BoolFlag{Name: "all", Aliases: []string{"a"}, Usage: "show those of all tenants"}
}

func jsonFlag() cli.Flag {
	return &cli.BoolFlag{Name: "json", Aliases: []string{"j"}, Usage: "print JSON"}
}

func quietFlag() cli.Flag {
	return &cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "print names only, one per line"}
}

// table says how objects of one type are listed.
type table[T any] struct {
	columns []string
	row     func(*T) []string
	tenant  func(*T) string // nil for types that belong to none
	name    func(*T) string
}

// print writes objects, sorted by tenant and name, as the flags --json and --quiet say.
func (t table[T]) print(p *program, c *cli.Context, objects []T) error {
	slices.SortStableFunc(objects, func(a, b T) int {
		if t.tenant != nil {
			if order := cmp.Compare(t.tenant(&a), t.tenant(&b)); order != 0 {
				return order
			}
		}
		return cmp.Compare(t.name(&a), t.name(&b))
	})
	switch {
	case c.Bool("json"):
		if objects == nil {
			objects = []T{}
		}
		return p.printJSON(objects)
	case c.Bool("quiet"):
		for i := range objects {
			if err := p.printf("%s\n", t.name(&objects[i])); err != nil {
				return err
			}
		}
		return nil
	}
	rows := make([][]string, 0, len(objects))
	for i := range objects {
		rows = append(rows, t.row(&objects[i]))
	}
	return p.printTable(t.columns, rows)
}

// printTable aligns columns with a gap of two spaces, below a header underlined with dashes.
func (p *program) printTable(columns []string, rows [][]string) error {
	var text bytes.Buffer
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	dashes := make([]string, len(columns))
	for i, name := range columns {
		dashes[i] = strings.Repeat("-", len(name))
	}
	for _, row := range append([][]string{columns, dashes}, rows...) {
		fmt.Fprintln(w, strings.Join(row, "\t"))
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("aligning the table: %w", err)
	}
	for line := range strings.Lines(text.String()) {
		if err := p.printf("%s\n", strings.TrimRight(line, " \n")); err != nil {
			return err
		}
	}
	return nil
}

func (p *program) printJSON(v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("writing JSON: %w", err)
	}
	return p.printf("%s\n", data)
}

// listOfTenant is the action of "ls" for types that belong to a tenant, which must exist.
func listOfTenant[T, O any](
	p *program, in func(*client.Client) client.Collection[T, O], t table[T],
) cli.ActionFunc {
	return p.api(func(c *cli.Context, api *client.Client) error {
		if _, err := p.arguments(c); err != nil {
			return err
		}
		tenant := c.String("tenant")
		if _, err := api.Tenants().Get(c.Context, tenant); err != nil {
			return err
		}
		objects, err := in(api).List(c.Context)
		if err != nil {
			return err
		}
		if !c.Bool("all") {
			objects = slices.DeleteFunc(objects, func(o T) bool { return t.tenant(&o) != tenant })
		}
		return t.print(p, c, objects)
	})
}

// inspect is the action of "inspect" for types with a name; key composes the model key.
func inspect[T, O any](
	p *program, in func(*client.Client) client.Collection[T, O], what string, key func(c *cli.Context, name string) string,
) cli.ActionFunc {
	return p.api(func(c *cli.Context, api *client.Client) error {
		words, err := p.arguments(c, what)
		if err != nil {
			return err
		}
		found, err := in(api).Inspect(c.Context, key(c, words[0]))
		if err != nil {
			return err
		}
		return p.printJSON(found)
	})
}

// remove is the action of "rm"; done is printed after success unless it is nil.
func remove[T, O any](
	p *program, in func(*client.Client) client.Collection[T, O], what string, key func(c *cli.Context, name string) string,
	done func(c *cli.Context, name string) string,
) cli.ActionFunc {
	return p.api(func(c *cli.Context, api *client.Client) error {
		words, err := p.arguments(c, what)
		if err != nil {
			return err
		}
		if err := in(api).Delete(c.Context, key(c, words[0])); err != nil || done == nil {
			return err
		}
		return p.printf("%s\n", done(c, words[0]))
	})
}

// keyInTenant is the model key of a name in the tenant of --tenant.
func keyInTenant(c *cli.Context, name string) string { return c.String("tenant") + ":" + name }

// keyOfName is the model key of types that belong to no tenant.
func keyOfName(_ *cli.Context, name string) string { return name }
