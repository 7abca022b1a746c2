"""Words of the demo school: subjects, names, places. The people made of them are invented."""

from __future__ import annotations

TERMS = ("First Term", "Second Term", "Third Term")
GRADES = ("JSS1", "JSS2", "JSS3", "SS1", "SS2", "SS3")
JUNIOR_GRADES = GRADES[:3]

JUNIOR_SUBJECTS = (
    "English Studies", "Mathematics", "Basic Science", "Basic Technology", "Social Studies",
    "Agricultural Science", "Business Studies", "Computer Studies", "French", "Yoruba",
)  # fmt: skip
SENIOR_CORE = ("English", "Mathematics", "Civic Education")
STREAM_SUBJECTS = {
    "Art": (*SENIOR_CORE, "Literature in English", "Government", "History", "CRK", "Yoruba", "Economics"),
    "Commercial": (
        *SENIOR_CORE, "Accounting", "Commerce", "Economics", "Marketing", "Business Administration",
        "Computer Studies",
    ),
    "Pure Science": (
        *SENIOR_CORE, "Physics", "Chemistry", "Biology", "Food and Nutrition", "Computer Studies",
        "Agricultural Science",
    ),
    "Engineering": (
        *SENIOR_CORE, "Physics", "Chemistry", "Further Mathematics", "Technical Drawing",
        "Computer Studies", "Economics",
    ),
}  # fmt: skip
# "Passed Core Subjects" of an SS3 student: these five, by stream.
CORE_FIVE = {stream: subjects[:5] for stream, subjects in STREAM_SUBJECTS.items()}

SCHOOL_PLACES = ("Ikeja", "Epe", "Badagry", "Surulere", "Ikorodu", "Mushin", "Apapa", "Kosofe")

LGAS = (
    "Agege", "Ajeromi-Ifelodun", "Alimosho", "Amuwo-Odofin", "Apapa", "Badagry", "Epe", "Eti-Osa",
    "Ibeju-Lekki", "Ifako-Ijaye", "Ikeja", "Ikorodu", "Kosofe", "Lagos Island", "Lagos Mainland", "Mushin",
    "Ojo", "Oshodi-Isolo", "Shomolu", "Surulere",
)  # fmt: skip
STATES = (
    "Abia", "Abuja", "Adamawa", "Akwa Ibom", "Anambra", "Bauchi", "Bayelsa", "Benue", "Borno", "Cross River",
    "Delta", "Ebonyi", "Edo", "Ekiti", "Enugu", "Gombe", "Imo", "Jigawa", "Kaduna", "Kano", "Katsina",
    "Kebbi", "Kogi", "Kwara", "Lagos", "Nasarawa", "Niger", "Ogun", "Ondo", "Osun", "Oyo", "Plateau",
    "Rivers", "Sokoto", "Taraba", "Yobe", "Zamfara",
)  # fmt: skip
ZONES = ("North East", "North West", "South East", "South South", "South West")

FIRST_NAMES = {
    "Female": (
        "Adaeze", "Aisha", "Amarachi", "Bisola", "Chiamaka", "Damilola", "Ebere", "Esther", "Fatima",
        "Folake", "Halima", "Ifeoma", "Ijeoma", "Kehinde", "Khadijah", "Mercy", "Ngozi", "Nkechi",
        "Oluchi", "Omotola", "Patience", "Ronke", "Sade", "Simisola", "Titilayo", "Uju", "Yetunde",
        "Zainab",
    ),
    "Male": (
        "Abdullahi", "Adewale", "Babatunde", "Bashir", "Chidi", "Chinedu", "Danjuma", "Ebuka", "Emeka",
        "Femi", "Gbenga", "Ibrahim", "Ifeanyi", "Ikenna", "Isma'il", "Kabiru", "Kunle", "Musa", "Nnamdi",
        "Obinna", "Segun", "Seyi", "Sunday", "Tunde", "Uche", "Usman", "Yakubu", "Zubairu",
    ),
}  # fmt: skip
LAST_NAMES = (
    "Abubakar", "Adebayo", "Adeleke", "Afolabi", "Ajayi", "Akande", "Aliyu", "Anyanwu", "Balogun", "Bello",
    "Chukwu", "Danladi", "Edet", "Egbuna", "Ekong", "Eze", "Fashola", "Garba", "Ibe", "Idris", "Igwe",
    "John-Okoro", "Kalu", "Lawal", "Mohammed", "Njoku", "Nwachukwu", "Obi", "Odukoya", "Ogunleye",
    "Okafor", "Okeke", "Okon", "Olawale", "Onyeama", "Oyelaran", "Sanusi", "Tijani", "Udo", "Uzor",
    "Yahaya", "Yusuf",
)  # fmt: skip

ACTIVITIES = ("None", "None", "None", "Clubs", "Debate", "Music", "Drama, Sports", "Sports", "Sports, Music")
LEVELS = ("High", "Medium", "Low")
INCOMES = ("High Income", "Middle Income", "Low Income")
EDUCATION = ("Primary", "Secondary", "Tertiary")
OCCUPATIONS = ("Business", "Civil Servant", "Engineer", "Farmer", "Medical Professional", "Teacher")
QUALIFICATIONS = ("NCE", "Bachelor's", "Master's")
