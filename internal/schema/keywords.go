package schema

// form is what the value of a keyword must be.
type form byte

const (
	formUnknown    form = iota // no keyword
	formText                   // an annotation that is a string
	formFlag                   // an annotation that is a boolean
	formAnnotation             // any other annotation
	formSchema
	formSchemas   // an array of schemas
	formSchemaMap // an object of schemas
	formItems     // a schema or an array of schemas
	formDeps      // an object of schemas or arrays of names
	formNameMap   // an object of arrays of names
	formRef
	formType
	formEnum
	formConst
	formNumber
	formExclusive // a number, a boolean in draft-04
	formPositive  // a number greater than 0
	formCount     // an integer not less than 0
	formBool
	formPattern
	formRequired
)

// role is what a sub-schema applies to.
type role byte

const (
	roleNone    role = iota // nothing unless a reference says so
	roleInPlace             // the same value, always or perhaps
	roleMember              // members of the value
	roleItem                // items of the value
)

// keyword is what the drafts say of one keyword: the first and last of them that have it (0: still has) and how it is read.
type keyword struct {
	form         form
	role         role
	since, until int
}

// keywords are those of all drafts that this package looks at. It is never written to.
var keywords = map[string]keyword{
	"$schema":          {form: formText},
	"$id":              {form: formText},
	"id":               {form: formText},
	"$anchor":          {form: formText},
	"$dynamicAnchor":   {form: formText},
	"$comment":         {form: formText},
	"title":            {form: formText},
	"description":      {form: formText},
	"format":           {form: formText},
	"contentEncoding":  {form: formText},
	"contentMediaType": {form: formText},
	"readOnly":         {form: formFlag},
	"writeOnly":        {form: formFlag},
	"deprecated":       {form: formFlag},
	"$recursiveAnchor": {form: formFlag},
	"default":          {form: formAnnotation},
	"examples":         {form: formAnnotation},
	"$vocabulary":      {form: formAnnotation},

	"$ref":          {form: formRef, since: 4},
	"$recursiveRef": {form: formRef, since: 2019, until: 2019},
	"$dynamicRef":   {form: formRef, since: 2020},

	"definitions":   {form: formSchemaMap, since: 4},
	"$defs":         {form: formSchemaMap, since: 2019},
	"contentSchema": {form: formSchema, role: roleInPlace, since: 2019},

	"allOf":            {form: formSchemas, role: roleInPlace, since: 4},
	"anyOf":            {form: formSchemas, role: roleInPlace, since: 4},
	"oneOf":            {form: formSchemas, role: roleInPlace, since: 4},
	"not":              {form: formSchema, role: roleInPlace, since: 4},
	"if":               {form: formSchema, role: roleInPlace, since: 7},
	"then":             {form: formSchema, role: roleInPlace, since: 7},
	"else":             {form: formSchema, role: roleInPlace, since: 7},
	"dependentSchemas": {form: formSchemaMap, role: roleInPlace, since: 2019},
	"dependencies":     {form: formDeps, role: roleInPlace, since: 4},
	"extends":          {form: formItems, role: roleInPlace, since: 3, until: 3}, // known only for the secrets in it

	"properties":            {form: formSchemaMap, role: roleMember, since: 4},
	"patternProperties":     {form: formSchemaMap, role: roleMember, since: 4},
	"additionalProperties":  {form: formSchema, role: roleMember, since: 4},
	"unevaluatedProperties": {form: formSchema, role: roleMember, since: 2019},
	"propertyNames":         {form: formSchema, role: roleMember, since: 6},
	"minProperties":         {form: formCount, since: 4},
	"maxProperties":         {form: formCount, since: 4},
	"required":              {form: formRequired, since: 4},
	"dependentRequired":     {form: formNameMap, since: 2019},

	"items":            {form: formItems, role: roleItem, since: 4},
	"prefixItems":      {form: formSchemas, role: roleItem, since: 2020},
	"additionalItems":  {form: formSchema, role: roleItem, since: 4, until: 2019},
	"unevaluatedItems": {form: formSchema, role: roleItem, since: 2019},
	"contains":         {form: formSchema, role: roleItem, since: 6},
	"minContains":      {form: formCount, since: 2019},
	"maxContains":      {form: formCount, since: 2019},
	"minItems":         {form: formCount, since: 4},
	"maxItems":         {form: formCount, since: 4},
	"uniqueItems":      {form: formBool, since: 4},

	"type":             {form: formType, since: 4},
	"enum":             {form: formEnum, since: 4},
	"const":            {form: formConst, since: 6},
	"minimum":          {form: formNumber, since: 4},
	"maximum":          {form: formNumber, since: 4},
	"exclusiveMinimum": {form: formExclusive, since: 4},
	"exclusiveMaximum": {form: formExclusive, since: 4},
	"multipleOf":       {form: formPositive, since: 4},
	"minLength":        {form: formCount, since: 4},
	"maxLength":        {form: formCount, since: 4},
	"pattern":          {form: formPattern, since: 4},
}

// in tells whether a draft has the keyword.
func (k keyword) in(draft int) bool {
	return k.since != 0 && k.since <= draft && (k.until == 0 || draft <= k.until)
}
