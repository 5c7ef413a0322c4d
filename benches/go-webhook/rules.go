package main

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
	"golang.org/x/net/publicsuffix"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// findings collects all problems of a record for one denial.
type findings struct {
	list     field.ErrorList
	warnings []string
}

func (f *findings) displayName(path *field.Path, value *string) {
	*value = strings.TrimSpace(*value)
	switch {
	case *value == "":
		f.list = append(f.list, field.Required(path, "give the name as people read it"))
	case utf8.RuneCountInString(*value) > 256:
		f.list = append(f.list, field.TooLong(path, "", 256))
	case strings.ContainsFunc(*value, unicode.IsControl):
		f.list = append(f.list, field.Invalid(path, *value, "has control characters"))
	}
}

// creator sets a missing creator from the user and checks a given one.
func (f *findings) creator(path *field.Path, creator **reference, username string) {
	if *creator == nil || (*creator).Name == "" {
		*creator = &reference{Name: username}
	}
	name := (*creator).Name
	bad := func(r rune) bool { return r == '/' || r == '%' || unicode.IsSpace(r) || unicode.IsControl(r) }
	if name == "" || len(name) > 253 || name == "." || name == ".." || strings.ContainsFunc(name, bad) {
		f.list = append(f.list, field.Invalid(path.Child("name"), name, "is not a name of a user"))
	}
}

// domains normalizes every domain and removes duplicates.
func (f *findings) domains(path *field.Path, domains []string) []string {
	canonical := domains[:0:0]
	for index, given := range domains {
		domain, err := canonicalDomain(given)
		if err != nil {
			f.list = append(f.list, field.Invalid(path.Index(index), given, err.Error()))
			continue
		}
		if domain != given {
			f.warnings = append(f.warnings, fmt.Sprintf("%s: %q stored as %q", path.Index(index), given, domain))
		}
		if !slices.Contains(canonical, domain) {
			canonical = append(canonical, domain)
		}
	}
	return canonical
}

func canonicalDomain(given string) (string, error) {
	text := strings.TrimSpace(given)
	if _, rest, found := strings.Cut(text, "://"); found {
		text = rest
	}
	text, _, _ = strings.Cut(text, "/")
	text = strings.TrimSuffix(text, ".")
	ascii, err := idna.Lookup.ToASCII(text)
	if err != nil {
		return "", fmt.Errorf("is not a domain: %w", err)
	}
	ascii = strings.TrimPrefix(ascii, "www.")
	if problems := validation.IsDNS1123Subdomain(ascii); len(problems) > 0 {
		return "", fmt.Errorf("is not a domain: %s", problems[0])
	}
	if _, err := publicsuffix.EffectiveTLDPlusOne(ascii); err != nil {
		return "", fmt.Errorf("is no domain of a company: %w", err)
	}
	return ascii, nil
}

// linkedin normalizes the address of a page.
func (f *findings) linkedin(path *field.Path, value *string, kinds ...string) {
	if *value == "" {
		return
	}
	canonical, err := canonicalLinkedin(*value, kinds)
	if err != nil {
		f.list = append(f.list, field.Invalid(path, *value, err.Error()))
		return
	}
	if canonical != *value {
		f.warnings = append(f.warnings, fmt.Sprintf("%s: %q stored as %q", path, *value, canonical))
		*value = canonical
	}
}

func canonicalLinkedin(given string, kinds []string) (string, error) {
	text := strings.TrimSpace(given)
	if !strings.Contains(text, "://") {
		text = "https://" + text
	}
	address, err := url.Parse(text)
	if err != nil {
		return "", fmt.Errorf("is not an address: %w", err)
	}
	host := strings.ToLower(address.Hostname())
	if host != "linkedin.com" && !strings.HasSuffix(host, ".linkedin.com") {
		return "", fmt.Errorf("is not an address at linkedin.com")
	}
	segments := strings.Split(strings.Trim(address.Path, "/"), "/")
	if len(segments) < 2 || !slices.Contains(kinds, strings.ToLower(segments[0])) || segments[1] == "" {
		return "", fmt.Errorf("is not the page of a %s", strings.Join(kinds, " or "))
	}
	return "https://linkedin.com/" + strings.ToLower(segments[0]) + "/" + strings.ToLower(segments[1]), nil
}

var sources = []string{
	"product-signup", "newsletter-subscribe", "referral", "inbound-inquiry", "website", "existing-client-expansion",
	"partner-introduction", "organic-search", "marketing-campaign", "event",
}

// labels warns about a source that is not in the list.
func (f *findings) labels(labels map[string]string) {
	if source, given := labels["crm.milo.io/source"]; given && !slices.Contains(sources, source) {
		f.warnings = append(f.warnings, fmt.Sprintf("metadata.labels[crm.milo.io/source]: %q is not a known source", source))
	}
}

// exists looks up a target, and returns an error only if the lookup fails.
func (f *findings) exists(ctx context.Context, d *directory, path *field.Path, kind, name string) error {
	if problems := validation.IsDNS1123Subdomain(name); len(problems) > 0 {
		f.list = append(f.list, field.Invalid(path, name, problems[0]))
		return nil
	}
	found, err := d.exists(ctx, kind, name)
	if err == nil && !found {
		f.list = append(f.list, field.NotFound(path, name))
	}
	return err
}

func (f *findings) note(spec *noteSpec, path *field.Path) {
	content := path.Child("content")
	if strings.TrimSpace(spec.Content) == "" {
		f.list = append(f.list, field.Required(content, "write what there is to note"))
	} else if utf8.RuneCountInString(spec.Content) > 1000 {
		f.list = append(f.list, field.TooLong(content, "", 1000))
	}
	if spec.NextActionTime == "" {
		return
	}
	at, err := time.Parse(time.RFC3339, spec.NextActionTime)
	if err != nil {
		f.list = append(f.list, field.Invalid(path.Child("nextActionTime"), spec.NextActionTime, "is not a time"))
	} else if at.Before(time.Now().Add(-time.Minute)) {
		f.list = append(f.list, field.Invalid(path.Child("nextActionTime"), spec.NextActionTime, "is in the past"))
	}
}
