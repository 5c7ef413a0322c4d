// A webhook on controller-runtime with the main rules of crm-admission, for comparison.
//
// It is a simple version: it sets the creator, normalizes domains and LinkedIn pages, looks up references in a cache of
// metadata and, after a miss, in the API server, and reports all problems in one denial. It has no policy, exemptions,
// metrics of its own, suggestions or rules for updates.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"net/http"
	"os"

	admissionv1 "k8s.io/api/admission/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/webhook"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
)

var version = schema.GroupVersion{Group: "crm.milo.io", Version: "v1alpha1"}

// directory answers whether an object exists.
type directory struct {
	cached client.Reader
	live   client.Reader
}

func (d *directory) exists(ctx context.Context, kind, name string) (bool, error) {
	for _, reader := range []client.Reader{d.cached, d.live} {
		err := reader.Get(ctx, client.ObjectKey{Name: name}, target(kind))
		if !apierrors.IsNotFound(err) {
			return err == nil, err
		}
	}
	return false, nil
}

func target(kind string) *metav1.PartialObjectMetadata {
	object := &metav1.PartialObjectMetadata{}
	object.SetGroupVersionKind(version.WithKind(kind))
	return object
}

// decide implements both endpoints. /mutate answers with its changes as a patch, and /validate ignores them.
func (d *directory) decide(ctx context.Context, request admission.Request) admission.Response {
	spec := field.NewPath("spec")
	username := request.UserInfo.Username
	switch request.Kind.Kind {
	case "Company":
		return decide(request, func(s *companySpec, f *findings) error {
			f.displayName(spec.Child("displayName"), &s.DisplayName)
			f.creator(spec.Child("creatorRef"), &s.CreatorRef, username)
			s.Domains = f.domains(spec.Child("domains"), s.Domains)
			f.linkedin(spec.Child("linkedinProfile"), &s.LinkedinProfile, "company", "school", "showcase")
			return nil
		})
	case "Person":
		return decide(request, func(s *personSpec, f *findings) error {
			f.displayName(spec.Child("displayName"), &s.DisplayName)
			f.creator(spec.Child("creatorRef"), &s.CreatorRef, username)
			f.linkedin(spec.Child("linkedinProfile"), &s.LinkedinProfile, "in")
			if s.CompanyRef == nil {
				return nil
			}
			return f.exists(ctx, d, spec.Child("companyRef", "name"), "Company", s.CompanyRef.Name)
		})
	case "Note":
		return decide(request, func(s *noteSpec, f *findings) error {
			f.creator(spec.Child("creatorRef"), &s.CreatorRef, username)
			f.note(s, spec)
			about := spec.Child("subjectRef")
			if s.SubjectRef == nil {
				f.list = append(f.list, field.Required(about, "say what it is about"))
				return nil
			}
			known := s.SubjectRef.Kind == "Company" || s.SubjectRef.Kind == "Person"
			if s.SubjectRef.APIGroup != version.Group || !known || s.SubjectRef.Namespace != "" {
				f.list = append(f.list, field.NotSupported(about.Child("kind"), s.SubjectRef.Kind, []string{"Company", "Person"}))
				return nil
			}
			return f.exists(ctx, d, about.Child("name"), s.SubjectRef.Kind, s.SubjectRef.Name)
		})
	}
	return admission.Allowed("")
}

func decide[S any](request admission.Request, rules func(*S, *findings) error) admission.Response {
	var object record[S]
	if err := json.Unmarshal(request.Object.Raw, &object); err != nil {
		return admission.Errored(http.StatusBadRequest, err)
	}
	var metadata struct {
		Labels map[string]string `json:"labels"`
	}
	if err := json.Unmarshal(object.Metadata, &metadata); err != nil {
		return admission.Errored(http.StatusBadRequest, err)
	}
	var found findings
	found.labels(metadata.Labels)
	if err := rules(&object.Spec, &found); err != nil {
		return admission.Errored(http.StatusServiceUnavailable, err)
	}
	if len(found.list) > 0 {
		kind := schema.GroupKind{Group: request.Kind.Group, Kind: request.Kind.Kind}
		status := apierrors.NewInvalid(kind, request.Name, found.list).Status()
		return admission.Response{AdmissionResponse: admissionv1.AdmissionResponse{Result: &status, Warnings: found.warnings}}
	}
	changed, err := json.Marshal(object)
	if err != nil {
		return admission.Errored(http.StatusInternalServerError, err)
	}
	return admission.PatchResponseFromRaw(request.Object.Raw, changed).WithWarnings(found.warnings...)
}

func withoutPatch(handler admission.HandlerFunc) admission.HandlerFunc {
	return func(ctx context.Context, request admission.Request) admission.Response {
		response := handler(ctx, request)
		response.Patches = nil
		return response
	}
}

// mapper knows the two kinds to look up, so that no discovery is needed.
func mapper(*rest.Config, *http.Client) (meta.RESTMapper, error) {
	mapper := meta.NewDefaultRESTMapper([]schema.GroupVersion{version})
	for kind, plural := range map[string]string{"Company": "companies", "Person": "people"} {
		mapper.AddSpecific(version.WithKind(kind), version.WithResource(plural), version.WithResource(plural), meta.RESTScopeRoot)
	}
	return mapper, nil
}

func main() {
	port := flag.Int("port", 9443, "where the webhook listens on 127.0.0.1, with TLS")
	certificates := flag.String("cert-dir", "", "the directory of tls.crt and tls.key")
	health := flag.String("health", "127.0.0.1:8081", "where /readyz listens")
	flag.Parse()
	ctrl.SetLogger(zap.New())
	if err := run(*port, *certificates, *health); err != nil {
		ctrl.Log.Error(err, "cannot go on")
		os.Exit(1)
	}
}

func run(port int, certificates, health string) error {
	config, err := ctrl.GetConfig()
	if err != nil {
		return err
	}
	manager, err := ctrl.NewManager(config, ctrl.Options{
		MapperProvider:         mapper,
		Metrics:                metricsserver.Options{BindAddress: "0"},
		HealthProbeBindAddress: health,
		WebhookServer:          webhook.NewServer(webhook.Options{Host: "127.0.0.1", Port: port, CertDir: certificates}),
		// Only names are needed, so the rest of the metadata is dropped.
		Cache: cache.Options{DefaultTransform: cache.TransformStripManagedFields()},
	})
	if err != nil {
		return err
	}
	context := ctrl.SetupSignalHandler()
	// The manager starts the server only if GetWebhookServer was called.
	server := manager.GetWebhookServer()
	if err := readyWhenSynced(context, manager, server); err != nil {
		return err
	}
	d := &directory{cached: manager.GetClient(), live: manager.GetAPIReader()}
	server.Register("/mutate", &admission.Webhook{Handler: admission.HandlerFunc(d.decide)})
	server.Register("/validate", &admission.Webhook{Handler: withoutPatch(d.decide)})
	return manager.Start(context)
}

// readyWhenSynced makes /readyz wait for the server and for the names of both kinds.
func readyWhenSynced(ctx context.Context, manager ctrl.Manager, server webhook.Server) error {
	var synced []toolscache.InformerSynced
	for _, kind := range []string{"Company", "Person"} {
		informer, err := manager.GetCache().GetInformer(ctx, target(kind), cache.BlockUntilSynced(false))
		if err != nil {
			return err
		}
		synced = append(synced, informer.HasSynced)
	}
	if err := manager.AddReadyzCheck("server", server.StartedChecker()); err != nil {
		return err
	}
	return manager.AddReadyzCheck("caches", func(*http.Request) error {
		for _, done := range synced {
			if !done() {
				return errors.New("not read yet")
			}
		}
		return nil
	})
}
