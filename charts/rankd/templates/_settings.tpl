{{/* The TOML file of `settings`: plain settings first, then sections. JSON's scalars and lists are TOML's, its objects not. */}}
{{- define "rankd.settingsFile" -}}
{{- range $key, $value := .Values.settings }}
{{- if not (kindIs "map" $value) }}
{{ $key }} = {{ toJson $value }}
{{- end }}
{{- end }}
{{- range $section, $values := .Values.settings }}
{{- if kindIs "map" $values }}

[{{ $section }}]
{{- range $key, $value := $values }}
{{- if kindIs "map" $value }}
{{ $key }} = { {{- range $i, $k := keys $value | sortAlpha }}{{ if $i }},{{ end }} {{ toJson $k }} = {{ toJson (get $value $k) }}{{ end }} }
{{- else }}
{{ $key }} = {{ toJson $value }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{/* The file of tokens, certificates and tenants, and the file of keys. */}}
{{- define "rankd.authFile" -}}
{{- range .Values.auth.tokens }}
[[token]]
{{- include "rankd.credential" . }}
{{ end }}
{{- range .Values.auth.certificates }}
[[certificate]]
{{- include "rankd.credential" . }}
{{ end }}
{{- range .Values.auth.tenants }}
[[tenant]]
{{- include "rankd.credential" . }}
{{ end }}
{{- end -}}
{{- define "rankd.credential" }}
{{- range $key, $value := . }}
{{ $key }} = {{ ternary $value (toJson $value) (eq $key "expires") }}
{{- end }}
{{- end -}}
{{- define "rankd.signingFile" -}}
{{- range .Values.signing.keys }}
[[key]]
id = {{ toJson .id }}
secret = {{ toJson .secret }}
{{ end }}
{{- end -}}
