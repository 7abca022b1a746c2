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

# Letters of Yoruba and Igbo, and those of the neighbours' French, which latin1 has too.
MIDDLE_NAMES = (
    "Abẹ́ní",
    "Chịọma",
    "Ẹniọlá",
    "Ezinwanne",
    "Kọ́láwọlé",
    "Ṅkiruka",
    "Ọlámide",
    "Ṣadé",
    "Tèmítọ́pẹ́",
    "Yẹ́misí",
)
LATIN1_MIDDLE_NAMES = (
    "Adélaïde",
    "André",
    "Chloë",
    "Désiré",
    "Félicité",
    "Françoise",
    "Hélène",
    "José",
    "Noémie",
)

# Offence, its kind, and what is done about it.
OFFENCES = (
    ("Late to school", "Time", "Warning"), ("Absent without leave", "Time", "Letter to the parents"),
    ("Class disruption", "Behaviour", "Detention"), ("Fighting", "Behaviour", "Suspension"),
    ("No uniform", "Order", "Warning"), ("Telephone in class", "Order", "Telephone kept for a week"),
)  # fmt: skip
# Month, day, name and description of days in a school year; from September on in its first calendar year.
SCHOOL_DAYS = (
    (9, 1, "First Term begins", None), (10, 1, "Independence Day", "The school is closed."),
    (12, 20, "First Term ends", None), (1, 5, "Second Term begins", None), (2, 14, "Sports Day", None),
    (4, 10, "Second Term ends", None), (4, 25, "Third Term begins", None),
    (5, 1, "Workers' Day", "The school is closed."), (6, 12, "Democracy Day", "The school is closed."),
    (7, 31, "Third Term ends", "Prizes are given."),
)  # fmt: skip
