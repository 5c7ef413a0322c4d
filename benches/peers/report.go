package main

import (
	"fmt"
	"slices"
	"strings"
)

// report prints the tables of docs/peers.md.
func report(s settings, deciders []*decider, results map[string][]series, fresh []int) {
	fmt.Printf("%d rounds, %gs for a measurement, %d Companies.\n\n", s.rounds, s.seconds, s.companies)
	table("create", "asked", "p50 µs (1)", "added µs (1)", "creates/s (16)", "CPU µs/create (16)")
	for _, scenario := range scenarios() {
		all := results[scenario.name]
		for index, of := range all {
			if of[0] == nil {
				continue
			}
			added, cpu := "–", "–"
			if index > 0 {
				cpu = spread(figures(of[1], func(s sample) float64 { return s.cpu }), "%.0f")
			}
			if index > 0 && all[0][0] != nil {
				added = spread(differences(of[0], all[0][0]), "%.0f")
			}
			row(scenario.name, shown(deciders, index),
				spread(figures(of[0], func(s sample) float64 { return s.p50 }), "%.0f"), added,
				spread(figures(of[1], func(s sample) float64 { return s.rate }), "%.0f"), cpu)
		}
	}
	fmt.Print("\nRelative to crm-admission in the same round:\n\n")
	table("create", "asked", "p50 (1)", "added (1)", "creates/s (16)", "CPU/create (16)")
	for _, scenario := range scenarios() {
		all := results[scenario.name]
		for index, of := range all {
			if index < 2 || of[0] == nil {
				continue
			}
			added := "–"
			if all[0][0] != nil {
				added = spread(quotients(differences(of[0], all[0][0]), differences(all[1][0], all[0][0])), "%.1f")
			}
			ratio := func(at int, figure func(sample) float64) string {
				return spread(quotients(figures(of[at], figure), figures(all[1][at], figure)), "%.2f")
			}
			row(scenario.name, shown(deciders, index), ratio(0, func(s sample) float64 { return s.p50 }), added,
				ratio(1, func(s sample) float64 { return s.rate }), ratio(1, func(s sample) float64 { return s.cpu }))
		}
	}
	fmt.Println()
	table("asked", "idle RSS MB", "largest RSS MB", fmt.Sprintf("denied of %d", freshCompanies))
	for index, decider := range deciders {
		largest := decider.idle
		for _, all := range results {
			for _, of := range all[index+1] {
				for _, sample := range of {
					largest = max(largest, sample.resident)
				}
			}
		}
		row(decider.shown, fmt.Sprintf("%.0f", decider.idle/1e6), fmt.Sprintf("%.0f", largest/1e6),
			fmt.Sprint(fresh[index]))
	}
}

func shown(deciders []*decider, index int) string {
	if index == 0 {
		return "no webhook"
	}
	return deciders[index-1].shown
}

func table(head ...string) {
	row(head...)
	fmt.Println(strings.Repeat("| --- ", len(head)) + "|")
}

func row(cells ...string) {
	fmt.Println("| " + strings.Join(cells, " | ") + " |")
}

func figures(samples []sample, figure func(sample) float64) []float64 {
	values := make([]float64, len(samples))
	for i, sample := range samples {
		values[i] = figure(sample)
	}
	return values
}

// differences of the p50 of each round.
func differences(samples, others []sample) []float64 {
	values := make([]float64, len(samples))
	for i := range samples {
		values[i] = samples[i].p50 - others[i].p50
	}
	return values
}

func quotients(values, others []float64) []float64 {
	result := make([]float64, len(values))
	for i := range values {
		result[i] = values[i] / others[i]
	}
	return result
}

// spread shows the median, and the lowest and the highest value in brackets.
func spread(values []float64, format string) string {
	if len(values) == 1 {
		return fmt.Sprintf(format, values[0])
	}
	return fmt.Sprintf(format+" ("+format+"–"+format+")", median(values), slices.Min(values), slices.Max(values))
}
