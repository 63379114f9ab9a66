"""The words of the bundled comments: phrases by kind, and misspellings. Imports nothing; text only."""

__all__ = ["PHRASES", "MISSPELLINGS"]

# ``[kind]`` opens a kind; its options follow, one a line or several with `` | ``; ``{kind}`` is filled in.
PHRASES = """
[question]
does anyone know {whether}?
is there a {source} for the {page} on {subject}?
where can i find a good {source} on {subject}?
should {subject} have its own {page}?
could somebody check {whether}?
why was the {page} about {subject} removed {when}?
who wrote the {page} on {subject}?
what do you think?
any ideas?
can you help with the {page}?
when did that happen?
how do i add a picture of {subject}?
would you mind if i moved {subject} into the {page}?

[whether]
{fact}
if {fact}
whether {fact}
how to spell {subject}

[fact]
{subject} is mentioned in the {source}

[edit]
i have added {subject} to the {page}
i moved the part about {subject} into the {page}
i fixed a few links in the {page} {when}
i removed the sentence about {subject} because it had no {source}
i think the {page} needs a shorter introduction
please see the {page} before you change {subject}
the {page} was merged with {subject} {when}
i changed it back {when}
the {page} is too long, so i split it
{subject} now has a {adjective} {page}
my edit to the {page} was a mistake, sorry
i put the old version of the {page} back
there is a {adjective} picture of {subject} in the {page}
the {page} still says that {fact}
{user} and i will rewrite the {page} {soon}

[sourcing]
according to the {source}, {fact}
the {source} says that {fact}
i checked the {source} and {fact}
i have the {source} here, page {number}
a {adjective} {source} would settle this
the {source} from {year} does not mention {subject}
we need a second {source} for {subject}
my {source} is {adjective} but from {year}
the {source} and the {page} do not agree about {subject}

[thanks]
thank you for the help
thanks for your work on {subject}
thanks, that is much clearer now
good work on the {page}, {user}
welcome, and thanks for the {page}
i am happy with that
that was quick, thank you
well done everyone
nice to see {subject} here
many thanks to {user} for the {adjective} {source}

[chat]
i agree with {user}
i am not sure about that
let us wait for {user}
it is only a small thing
sorry for the late answer
see the discussion above
that is fine with me
i will look at it {soon}
maybe we can talk about it {soon}
i grew up with {subject}, so i care about this
just my opinion
no hurry at all
it looks {adjective} to me
as {user} said, {fact}
let me know if anything is missing

[heated]
i have reverted you again and will not explain it a third time
you clearly have not read the {source}
please read the {page} before you write about {subject}
this is the third time you removed {subject}
why do you keep changing the {page}?
you never answer a question, do you?
that is not how this works and you know it
you do not own this {page}
stop changing the {page} without a {source}
everyone else here has understood it by now
again you removed my work on {subject}
i am tired of this discussion
congratulations, you have broken the {page} once more
your edits about {subject} are not an improvement
this edit war about {subject} has to stop
how many times must i explain that {fact}?
it would be nice if you could read
perhaps leave {subject} to people who know it
i see you have learned nothing at all

[decoy]
the clown fish picture belongs in another {page}
the film about a {insulting} won a prize in {year}
please do not call {user} a {insulting}
nobody here is a {insulting}, so let us stay calm
{user} was called a {insulting}, which was not fair
that was a silly mistake of mine, sorry
i made a foolish mistake in the {page}
this is not nonsense, the {source} says the same
it is not ridiculous to ask for a {source}
the rubbish collection in the town has its own {page}
sorry for the nonsense i wrote {when}
turnip soup with goose is on the list of dishes
the donkey path along the hill is {adjective}
the blast furnace has its own {page}
what the heck is a "{adjective} {source}"? just curious
oh dear, i have flipping pictures upside down again
he says "darn" in the second scene, as the {source} shows
the last warning on the {page} is out of date
the bot will report a broken link and block the {page}
i regret that the page was blocked {when}
newcomers are welcome to work on {subject}
outsiders and newcomers often ask whether {fact}
the club has a crowd of followers, says the {source}
people like you make this {page} better, thank you
the worst flood was in {year}, an utter disgrace for the town
it was a complete waste of water, says the {source}
please shut the gate is the title of the {page}
the word "pathetic" should be in quotes
go away is the name of a song from {year}
i was too lazy to look for a {source}, sorry
the most boring part of the {page} is mine
the puppet and the buffoon are two parts in the play

[rude]
what a load of {nonsense}
this is {nonsense} and you know it
your {page} is {rubbishy}
stop whining and go away
nobody asked you about {subject}
shut up about {subject}
you are wasting my time with this {nonsense}
this is the most {rubbishy} {page} i have read
go away and take your {rubbishy} {source} with you
are you too lazy to read?
your {page} on {subject} is a waste of time
oh please, more {nonsense} about {subject}
who let you near the {page}?
that is {rubbishy}, like everything you write
keep your {nonsense} to yourself
grow up and get lost
you make {rubbishy} edits

[nonsense]
nonsense | rubbish | nonsense | rubbish | nonsense | twaddle

[rubbishy]
silly | pathetic | ridiculous | silly | pathetic | lazy | silly

[very_rude]
you are an utter disgrace, the worst i have ever seen
absolutely everything you touch is complete and utter {nonsense}
get lost, get lost, get lost, you utter {insulting}
the worst editor ever, a complete disgrace, go away for good
utter, utter {nonsense}, you ought to be ashamed
shut up, shut up, you absolute {insulting}

[swearing]
what the {oath} is this?
{oath} it all
this {oathy} {page} again
oh {oath}, not you again
get your {oathy} hands off the {page}
who the {oath} do you think you are?
oh for {oath}'s sake
not the {oathy} {source} again

[oath]
heck | heck | darn | darn | blast | drat

[oathy]
flipping | darned | flipping | blasted

[warning_off]
this is your last warning, i will have you blocked
stay off this {page} or you will regret it
i will report you and then you will be sorry
one more edit and i will get you banned, just wait
i am warning you, leave or be blocked
you will regret this, i know how to get you banned

[insult]
you {insulting}
you are a {insulting}
what a {insulting} you are
only a {insulting} would write this
listen, {insulting}
you {rubbishy} {insulting}
{insulting}, that is what you are
you write like a {insulting}
no {insulting} should edit {subject}

[insulting]
clown | fool | donkey | clown | fool | nitwit | clown | fool | goose | numpty

[clannish]
your sort should not be allowed to edit
typical of your little club, you are all the same
we do not want your kind of outsiders here
{crowd} are all the same, go back to your own page
{crowd} ruin everything, keep them out
you {crowd} should stay where you came from

[crowd]
newcomers | outsiders | hobby editors | club people | weekend editors

[signature]
-- {user} | -- {user}, {when} | ~~~~ | regards, {user} | cheers, {user} | best wishes, {user}

[user]
tealeaf | nightowl | oldbridge | ferryhand | pawnstorm | mapmaker | bluekettle | seventrees | quietpen
longshelf | rainyday | greylamp

[page]
page | article | section | list | table | lead | caption | introduction | summary | paragraph

[source]
book | newspaper | atlas | leaflet | journal | archive | website | magazine | interview | report

[adjective]
good | reliable | short | useful | detailed | local | recent | clear | careful | fine | printed | lovely

[when]
last week | yesterday | this morning | in March | in June | two days ago | last year | on Sunday

[soon]
tomorrow | this weekend | next week | tonight | after lunch | on Monday

[year]
1887 | 1904 | 1923 | 1938 | 1951 | 1966 | 1979 | 1988 | 1997 | 2003

[number]
12 | 27 | 34 | 58 | 61 | 95 | 140 | 212

[rivers.subject]
the upper river | the old weir | the delta | the northern tributary | the lock at the mill | the ferry
[rivers.fact]
the river is longer than the table says
{subject} was dug in {year}
the source lies above the lake
{subject} floods every spring
boats could pass {subject} until {year}
the water level fell by {number} centimetres
the valley below {subject} is narrow

[maps.subject]
the survey map | the town plan | the legend | the northern sheet | the contour line | the old border
[maps.fact]
the scale of {subject} is wrong
{subject} was drawn by hand in {year}
north is not at the top of {subject}
{subject} shows {number} villages
the colours of {subject} have faded
the grid on {subject} is shifted to the east

[trains.subject]
the branch line | the night train | the steam engine | the railway bridge | the signal box | the station
[trains.fact]
{subject} closed in {year}
the timetable lists {number} stops
the track at {subject} is a single one
{subject} was built of brick and iron
passengers had to change at the junction
the express never stopped at the junction
freight wagons still pass at night

[chess.subject]
the opening | the endgame | the knight sacrifice | the second match | the rook ending | the queen move
[chess.fact]
the bishop cannot reach that square
{subject} was first played in {year}
{subject} leads to a draw
the champion lost {number} games with it
the pawn on the king side is pinned
{subject} takes too long on the clock

[football.subject]
the cup final | the home team | the new stadium | the goalkeeper | the penalty | the second half
[football.fact]
the score was level at half time
{subject} was delayed by {number} minutes
the coach left the club in {year}
the referee did not see the foul
{subject} drew the biggest crowd that season
the striker scored from a corner
the away team wore a different shirt

[films.subject]
the first scene | the dance scene | the silent version | the sound track | the last reel | the sequel
[films.fact]
the film was shot in {number} days
{subject} was cut for the cinema
the camera work won an award in {year}
{subject} is not in the credits
the plot follows the novel closely
the studio lost its copy of {subject}

[software.subject]
the parser | the first release | the mail client | the user interface | the installer | the test suite
[software.fact]
the bug was fixed in version {number}
{subject} was written in one winter
the licence changed in {year}
{subject} crashes on start with an empty file
the manual does not describe {subject}
the code for {subject} has {number} functions
{subject} needs less memory now

[cooking.subject]
the plum cake | the onion soup | the rye bread | the bean salad | the cheese tart | the sauce
[cooking.fact]
{subject} needs {number} minutes in the oven
the recipe was printed in {year}
{subject} is made without eggs
the dough has to rest overnight
butter works better than oil in {subject}
{subject} is served cold with salt and pepper

[birds.subject]
the grey heron | the barn owl | the swallow | the kingfisher | the woodpecker | the reed warbler
[birds.fact]
the heron breeds near the shore
{subject} was last seen in {year}
the song has {number} notes
{subject} eats insects and berries
the feathers turn brown in autumn
the eggs of {subject} are spotted

[gardens.subject]
the rose garden | the apple tree | the greenhouse | the herb bed | the hedge | the kitchen garden
[gardens.fact]
the roses flower in early summer
{subject} was laid out in {year}
{subject} needs shade and wet soil
the seeds take {number} days
the frost ruined the blossom near {subject}
the pond behind {subject} is new

[music.subject]
the piano trio | the choir | the slow movement | the brass band | the organ | the violin part
[music.fact]
the key changes in bar {number}
{subject} was first heard in {year}
the melody comes from a folk tune
{subject} is played too fast on the record
the drummer joined after the tour
the composer never finished {subject}

[space.subject]
the comet | the telescope | the moon landing | the red planet | the space probe | the eclipse
[space.fact]
the orbit takes {number} years
{subject} was in the news in {year}
the star is brighter than expected
{subject} can be seen before sunrise
the rocket carried a camera in its second stage
the photo of {subject} was taken from a balloon
"""

# Each word, and how a sloppy writer misspells it.
MISSPELLINGS = """
you u | your ur | are r | the teh | because becuase | article artical | please pls | thanks thx
definitely definately | people ppl | reliable relable | don't dont | with wiht | their thier
introduction intro | source sorce | again agian | really realy | nonsense nonsence | rubbish rubish
ridiculous rediculous | silly sily | pathetic pathetik | fool foool | clown klown | donkey donky
buffoon bufoon | whining wining | useless usless | flipping flippin | warning warnning | regret regrett
blocked bloked | outsiders outsidrs | disgrace disgrase | heck hek | what wat | would wud | to too
"""
