"""Words as web pages have them in capitals: the material of the trigram model in `language.py`.

Written for this purpose: common English, the words of headings, licences, logs and code, the names and acronyms of
biology that stand beside sequences, places and names, some Latin, French, German, Spanish and Italian.
"""

WORDS = """
a able about above absent abstract academic accept access according account accuracy acid across act action activate
active activity actual add addition additional address adjust advance advanced advantage advice affect after again
against age agency agenda agent agree agreement aid aim air alert algorithm align alignment all allele allow alone
along alphabet already also alter although always amend amendment america amino among amount an analyse analysis
ancient and animal annex annotation annual another answer any apart appear append appendix apple applied apply
approach april are area argument arise arising arm army around array arrive art article articles as aside ask assay
assemble assembly assess asset assign assist assume at atom attach attack attempt attend attention august author
authors autumn available average avoid away background backslash bad bag balance ball band bank bar base based basic
basis basket be bear beautiful beauty became because become bed been before began begin beginning behind being believe
bell below beneath benefit beside best better between beyond big bill bind binding bird birth bit bitter black blank
blast bless blind block blood blue board boat body bone book born both bottom boundary box boy branch brand brave
bread break breath bridge bright bring british broad brother brought brown browser buffer bug build built bulletin
burn business busy but buy by byte cable cache calendar call called came camera can cancel cancer candle capital
captain capture car card care carry case cast castle cat catch category cattle caught cause caution cell center
central centre century certain certificate chain chair challenge chance change channel chapter character charge chart
chase chat check chemical chest chicken chief child children choice choose church circle citizen city claim class
classes clean clear clerk click client climate climb clinic clock clone close cloth cloud cluster coast code coffee
cold collect college color column combine come command comment commit common community company compare compile
complete computer concept condition conduct config confirm conflict connect conserved constant contact contain
contents context contig continue contract control convert cool copy copyright core corner correct cost could count
country course court cover create created creation credit crime critical cross crowd cry culture cup current curse
custom cut cycle daily damage damages dance danger dark data database date dataset day days dead deal dealings dear
death debug december decide declare deep deer default defence define defined defining definition degree delay delete
deliver demand density department depend dependency deploy deprecated depth derive describe description desert design
desire detail details detect develop development device devices diagram dictionary did die diet differ difference
different digest digit digital dinner direct direction directive directory disclaim disclaimed disclaimer discover
discussion disease disk display distance distinct distribution district divide division do doctor document does dog
domain done door dot double doubt down draft drag draw dream dress drink drive driver drop dry due during dust duty
dynamic each eagle early earn earth ease east easter eastern easy eat edge edit edition editor education effect
effects effort egg eight either elastic electric element eleven else email embed emergency emit employ empire empty
enable encode end ended ending endless enemy energy engine england english enhance enough enter entire entity entry
environment enzyme equal error errors escape essay establish estate estimate europe evaluate evening event ever every
evidence evil exact exam example examples except exception exchange execute exercise exhibit exist exit expand expect
expected experience experiment expert expire explain export expose express expression extend extension external extra
extract eye face fact factor fail failed failure fair faith fall false family famous far fare farm fast fat fate
father fault favor fear feast feather feature features february federal feed feel feet fell fellow felt female fence
few fiction field fields fifteen fifth fifty fight figure figures file files fill filter filtering final finance find
finding findings fine finger finish fire firm first fish fitness five fix flag flags flame flank flash flat flavor
flight float flow flower fly follow following food fool foot for force foreign forest forever forget fork form formal
format forward found foundation fountain four fox frame framework free freedom fresh friday friend from front fruit
full function further future gain gallery game garden gas gate gather gave gene general generate generated genesis
genetic genome gentle german get giant gift girl give given glad glass global glory go god gold good government grace
grade gradient grand grant grape graph grass grateful grave gray great greece greek green greet grey grid grind ground
group grow growth guarantee guard guess guest guide guidelines had hair half hall hand handle hang happen happy hard
harm harvest has hash hat hate have having he head header heading headline headlines health hear heart heat heaven
heavy heavily height heir held hell hello help hence her herald here heritage herself hid hidden hide high highlight
hill him himself hint his history hit hold hole holiday holy home honest hook hope horse hospital host hot hotel hour
house how however huge human hundred hunger hunt husband ice idea ideal identical identifier identify identity idle if
ignore ill illegal image imagenet images immediate immune impact implement implied import important include included
including increase indeed index india indicate indirect individual industry infer infile infinite info inherit initial
initialize inner input insert inside insight install instance instant instead institute instruction insulin integer
integral intellectual intelligence intend intent interact interest interface internal internally international
internet interval into introduction invalid invention invest inward iron is island issue it italian italy item iterate
its itself jail january japan jazz job join joint journal joy judge july jump june jury just justice keep kernel key
keyboard keys keyword kick kids kill kind king kingdom kiss kit kitchen knee knew knife knight knit know knowledge
known label lack ladder lady lake lamb lamp land lane language large last late latent later latest latin laugh launch
law lawyer lay layer lead leader leaf leaflet league learn learning least leather leave left leg legacy legal legend
lemma length lengths less lesson let letter letters level liability liable liberty library licence license licensed
licensee life lift light like limit limitation limited limits line lineage linear lines link links lion lip liquid
list listed listen lists literal literary literature little live liver load loan local locate lock log logic london
long look loop lord lose loss lost lot loud love low lower luck lunch machine mad made magazine magic magnet mail main
maintain maintenance major make maker making male man manage managed management manager mandate manifest manner manual
many map mapping mappings marble march margin marine mark market marriage married mask mass master match matched
matches material mathematics matrix matter matters maximum may mayor me meal mean means meant measure meat mechanism
median medical medicine medium meet meeting member memory men mental menu merchant merge merry message messages met
metal metadata method methods metric metrics middle might mild mile military milk mill million mind mine minimal
minimum minister minor minute mirror mirrors miss missing mission mistake mix mode model modern modify module moment
monday money monitor month moon moral more morning mother motion motor mount mountain mouse mouth move movie much
multiple murder music must mutation my mystery name named names narrative nation national native natural nature near
nearly neck need needed negative neglect negligence neither nerve nest net network never new news next nice night nine
no noble node none nor normal north northern nose not note notes nothing notice november now nucleotide null number
nurse object observe obtain ocean october of off offer office officer often oil old on once one only onto open operate
operator opinion optimal option or oracle orange order organ origin original other our out output outside over
overview own owner pace pack package packet page pain paint painting pair pairs pairwise palace palm panel paper
paradise paragraph parallel parameter parameters parcel pardon parent parents paris park parse parser part partial
particular parties parts party pass passed passenger password past paste patch patent path pathway pathways patient
patients pattern pause pay peace peer penalty people per perceive percent perfect perform performance perhaps period
permanent permission permit persist persistence person personal phase phrase physical piano pick picked picture piece
pieces pile pilot pin pink pipe pipeline pitch place plain plan plane planet plant plasma plastic plate play player
please pleased pledge plenty plot plug plus poem poet point police policy politics poor popular position positive
possible post pound power practical practice practise pray prayer precise predict predicts preface prefer prefix
preliminary prepare presence present presentation preserve president press pressure prevent preview previous price
pride priest primary primer primers prime prince princess principal principle print printed prior priority prison
private prize probe problem procedure process produce product profile profit program progress project promise promoter
prompt proof proper property protein proteins protect protest prove provide province public publish pull pulse
purchase pure purpose push put quality quantity quarter queen query question quick quiet quit quite quote race radial
radical radio rail rain raise random range rank rapid rare rarely rate rather ratio rational raw reach react read
reader readers reading readme reads ready real realise reality really reap reason reasons receive recent recipe
recital record red reduce refer reference references refine reflect refseq refuse regard region register regular
reject relate related relation relative relax release released relevant reliable relief religion remain remark remedy
remember remind remove render rent repair repeat replace replica reply report represent reproduce request require
research reserve reserved reset resident residue residues resist resistance resource respect respond response rest
restart restarts restricted result results retain retire retrieve return returns reveal revenge reverse review revise
reward rich rid ride right rights ring rise risk river road rock role roll roman roof room root rose round route row
royal rule rules run running safe safety said sail saint sale salt same sample samples sampling sand sat satellite
saturday save saved saw say scale scan scene schedule schema scheme school science sciences scope score screen script
scripts sea seal search season seat second secret secretary section sections security see seed seek seem seen select
selected self sell senate send senior sense sensitive sensitivity sent sentence separate september sequence sequences
serial series serious servant serve server service services session set sets setting settings settle seven several
severe shade shadow shake shall shame shape share shares sharp she shed sheep sheet shell shelter shield shift shine
ship shirt shock shoe shoot shop short shot should shoulder show shrink shut sick side sides sight sign signal signals
signature silence silent silk silver similar simple simplify since sing single sir sister sit site sites situation six
size skill skin skip skipped sky slave sleep slice slide sliding slight slim slip slow small smart smell smile smith
smoke snake snow so social society soft software soil soldier some son song soon sort soul sound source south space
spain span spanish spare speak special species specific specifically specified specify speech speed spell spend spent
spin spirit split spring sql square stable staff stage stair stamp stamps stand standard standards star stars start
started starting state stated statement statements states static station statistics status stay steady steal steam
steel step steps stick still stock stone stop store storm story straight strand strange strategy stream street
strength stress stretch strict strike string strings strip strong structure student study style subject submit success
such sudden suffer sugar suggest summary summer sun sunday supper supply support sure surface surprise sweet swift
swim switch sword symbol synteny synthesis syntax system systems table tables tail take taken tale talk tall target
targets task tasks taste tax tea teach teacher teachers tear tears technical technique technology tell temperature
template templates temple ten tenant tend term terminal terminate terms terrible terror test tested testament testing
tests text than thank thanks that the theatre their them theme then theory there therefore these they thick thin thing
things think third thirteen thirty this those though thought thousand thread threads threat three threshold throne
through throw thursday thus ticket tight time times tiny tired title titles to today together told tomorrow tone too
took tool top topic total touch toward tower town trace track trade tradition traffic trail train training transcript
transfer transform transit translate translated travel treasure treat treatment treaty tree trial tribe trick trim
trip true trust truth try tuesday turn twelve twenty twice twin two type types typical ultimate unable under
understand union unique unit united universe university unless until up update upon upper use used user using usual
vacuum valid validate valley value values variable variant variants various vast vector vegetable vein velvet verb
verdict verify verse version very vessel victim victory video view village violet virtue virus visit visual vital
vitamin voice volume vote wage wait wake wales walk wall wander want war warm warn warning warnings warranties
warranty was wash waste watch water wave way we weak wealth wear weather wedding wednesday week weekly weigh weight
weights welcome well went were west western wet whale what wheat wheel when whenever where whereas wherein whether
which while whisper white whitespace who whole whose why wide width wife wild will win wind window windows wine wing
wings winner winter wisdom wise wish with within without witness woman women wonder wood word words work worker world
worry worse worst worth would write writer writing written wrong year years yellow yes yesterday yet yield you young
your youth zero zone africa alaska andrew asia athens australia berlin boston canada charles chicago china daniel
david delhi dublin edward elizabeth france frank geneva george germany helsinki henry ireland israel james jesus john
kansas karen linda madrid maria martin mary matthew mexico michael milan moscow nigeria norway oxford pakistan peter
philip princeton richard robert russia sarah scotland sweden sydney texas thomas tokyo turkey vienna virginia
washington william abs agpl ajax alu ansi apache api app ascii asic aspirin async atp aws bash basal bios blastn
blastp bsd cad caps cdna cds cgi changelog chip chromatin cli clustal cmake cml cmd cpu crispr css csv ctrl cuda
cultivar debian dev dhcp diff dns docker dom doi dos dpi dvd eps esc etag faq fasta fastq fcc ffmpeg fifo fpga ftp
gapdh gcc gemini genbank gff github gitlab gmail gnu gpl gps gpu grch grep gtf gui gzip hdd hdmi hepes hex hmm hmmer
hmmsearch homo html http https ide ieee iff imap inc init intel ipad iphone iso java jaspar jpeg json jvm kafka kegg
keyerror lan lapack latex ldap led lif linux llc llm ltd mac maf mafft makefile mapk matlab mcmc md megahit metagenome
mhc microarray mit mkdir mnist mpi mrna mssql mysql nasa nat ncbi nfs ngs nih nginx nlp nmr npm ntp numpy nvidia nxp
oauth omim oom openssl os pam pandas pathname pcr pdb pdf perl pfam phylip php pip piperidine plink png ppm proxy psi
pypi python qemu raid ram ramdisk rdf regex rna rpm rsa rss ruby samtools satcom scikit sdk sds segfault seqlen seqres
sgml sha simd slurm smtp snp sqlite srv ssd ssh ssl stderr stdin stdout stl subprocess svg svn swissprot sybr taqman
tblastn tcp telnet tensor tiff tls todo tpu transcriptase transfac trizol trna tsv txt typeerror ubuntu udp ui uniprot
unix upgma url urllib usb utc utf utr uuid valueerror vcf vhdl vim vip visa vlan vpn vscode wan wifi wiki wsdl xml
yaml zip dna kb bp nad adp gtp mrnas dnas rnas seq id ids fig figs nos amp elisa elispot facs hplc maldi tof gcms lcms
edta dmem fbs tris tween triton agarose plasmid ligase helicase kinase methylase actin antigen arabidopsis bacteria
calmodulin chimera ecoli elegans escherichia gfp egfp fitc tamra biotin histidine homolog keratin lacz lysine lysozyme
mitochondria myc peptide peptides phage polymerase saccharomyces sativa serine sepharose telomerase trypsin ubiquitin
vaccine virions ad amicitia anima aqua bellum caelum carpe deus diem dicta ego erat est et ex facta fides gloria
gratia habeas in iacta ignis ipsum lex libera magna mater mens mihi natura nihil omnia pater pax principio quis quia
regina requiem res roma rex sanctus semper senatus sine spiritus tempus terra veni verba veritas vici vidi vincit vita
vox avec bien dans des elle fait je la le les mais nous par pas pour que qui sans ses sont sur tres une vous das dem
den der ein eine fur ich ist nicht sich sie und von wird zu con como del el en ese esta hasta las los mas muy nada
para pero por ser sin una casa della gli il nel piu che non si
"""
