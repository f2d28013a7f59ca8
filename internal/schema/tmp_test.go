package schema_test
import ("testing";"math/rand/v2";"time";"fmt";"os";"strings";"regexp"
"github.com/pluginregistry/pluginregistry/internal/schema")
func TestTmp(t *testing.T){
 end:=time.Now().Add(70*time.Second)
 seed:=byte(0)
 fmt.Sscan(os.Getenv("SEED"),&seed)
 r:=rand.NewChaCha8([32]byte{seed,1})
 data:=make([]byte,900)
 n:=0
 for time.Now().Before(end) && !t.Failed(){ r.Read(data); _,p,_:=compareRandom(t,data); n+=p }
 t.Log(n)
}
func TestTmpWhy(t *testing.T){
 r:=rand.NewChaCha8([32]byte{9,1})
 data:=make([]byte,600)
 why:=map[string]int{}
 re:=regexp.MustCompile(`"[^"]*"|'[^']*'`)
 for range 300 { r.Read(data)
 g := &generator{data: data}
	names := [...]string{"20", "19", "7", "20", "19", "6", "20", "19", "4"}
	g.draft = names[g.pick(len(names))]
	d := diffDrafts[g.draft]
	text := g.document(d.uri).Append(nil)
	_, err := compileAlone(d.draft, text)
	if err!=nil { e:=re.ReplaceAllString(err.Error(),"Q"); if len(e)>150 {e=e[len(e)-150:]}; why[g.draft+" "+strings.ReplaceAll(e,"\n"," ")]++; continue}
	if s:=schema.Compile(text); s.Err()!=nil { why["loop"]++; continue}
	why["ok "+g.draft]++
 }
 for k,v:=range why { t.Log(v,k)}
}
