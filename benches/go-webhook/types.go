package main

import "encoding/json"

// record has the common fields of all three kinds. Only `spec` is parsed; the rest stays raw JSON, so that no field of
// the metadata is lost or rewritten.
type record[S any] struct {
	APIVersion string          `json:"apiVersion"`
	Kind       string          `json:"kind"`
	Metadata   json.RawMessage `json:"metadata"`
	Spec       S               `json:"spec"`
	Status     json.RawMessage `json:"status,omitempty"`
}

type reference struct {
	Name string `json:"name,omitempty"`
}

type companySpec struct {
	DisplayName     string     `json:"displayName,omitempty"`
	Domains         []string   `json:"domains,omitempty"`
	Description     string     `json:"description,omitempty"`
	LinkedinProfile string     `json:"linkedinProfile,omitempty"`
	OrganizationRef *reference `json:"organizationRef,omitempty"`
	CreatorRef      *reference `json:"creatorRef,omitempty"`
}

type contact struct {
	Name      string `json:"name,omitempty"`
	Namespace string `json:"namespace,omitempty"`
	Type      string `json:"type,omitempty"`
	Primary   *bool  `json:"primary,omitempty"`
}

type personSpec struct {
	DisplayName     string     `json:"displayName,omitempty"`
	JobTitle        string     `json:"jobTitle,omitempty"`
	LinkedinProfile string     `json:"linkedinProfile,omitempty"`
	CompanyRef      *reference `json:"companyRef,omitempty"`
	UserRef         *reference `json:"userRef,omitempty"`
	ContactRefs     []contact  `json:"contactRefs,omitempty"`
	CreatorRef      *reference `json:"creatorRef,omitempty"`
}

type subject struct {
	APIGroup  string `json:"apiGroup,omitempty"`
	Kind      string `json:"kind,omitempty"`
	Name      string `json:"name,omitempty"`
	Namespace string `json:"namespace,omitempty"`
}

type noteSpec struct {
	SubjectRef      *subject   `json:"subjectRef,omitempty"`
	Content         string     `json:"content,omitempty"`
	InteractionTime string     `json:"interactionTime,omitempty"`
	FollowUp        *bool      `json:"followUp,omitempty"`
	NextAction      string     `json:"nextAction,omitempty"`
	NextActionTime  string     `json:"nextActionTime,omitempty"`
	CreatorRef      *reference `json:"creatorRef,omitempty"`
}
